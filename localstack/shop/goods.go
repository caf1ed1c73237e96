package shop

import (
	"fmt"
	"math/rand/v2"
)

// What is bought, by whom and why it comes back. The texts hold what texts of real shops hold and careless code trips
// over: quotes, backslashes, line ends, angle brackets, other scripts, characters outside the basic plane.
var (
	currencies = []string{"EUR", "EUR", "EUR", "USD", "GBP", "JPY"}
	methods    = []string{"card", "invoice", "transfer", "direct debit"}
	carriers   = []string{"DHL", "UPS", "La Poste", "Österreichische Post"}
	reasons    = []string{"ordered twice", "too late", "broken", "doesn't fit", "said \"no\"", "two\nlines", "a\\b <c> & d", "気が変わった"}
	articles   = []struct{ sku, name string }{
		{"TEA-250", "Green tea"},
		{"TEA-251", "Thé vert"},
		{"CUP-1", "Cup \"large\""},
		{"CUP-2", "Cup <small> & saucer"},
		{"POT-7", "急須"},
		{"KET-3", "Kettle 1.7 l, 2\u202f200 W"},
		{"GIFT", "Gift box 🎁"},
		{"BOOK\\9", "The Book of Tea"},
	}
	people = []string{"Ada Lovelace", "Grace Hopper", "Jörg Müller", "Zoë O'Brien", "山田 太郎", ""}
	places = []struct{ street, city, postalCode, country string }{
		{"12 Mill Lane", "Bath", "BA1 1AA", "GB"},
		{"Hauptstraße 3", "Köln", "50667", "DE"},
		{"8 rue de l'Évêché", "Nîmes", "30000", "FR"},
		{"", "千代田区", "100-0001", "JP"},
		{"500 \"Old\" Rd\\Apt 4", "Austin", "", "US"},
	}
)

func pick[T any](from []T, r *rand.Rand) T {
	return from[r.IntN(len(from))]
}

func newAddress(r *rand.Rand) address {
	p := pick(places, r)
	return address{name: pick(people, r), street: p.street, city: p.city, postalCode: p.postalCode, country: p.country}
}

// newID returns an id that no other id of the run has. One in fifty holds characters that need escaping in JSON, since
// ids become the keys of maps.
func newID(kind string, r *rand.Rand) string {
	if r.IntN(50) == 0 {
		kind += "/\"ü\\"
	}
	return fmt.Sprintf("%s-%016x", kind, r.Uint64())
}

// newUUID returns a random UUID (RFC 9562, version 4) in its canonical form.
func newUUID(r *rand.Rand) string {
	high, low := r.Uint64(), r.Uint64()
	high = high&^0xf000 | 0x4000
	low = low&^(0b11<<62) | 0b10<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", high>>32, high>>16&0xffff, high&0xffff, low>>48, low&0xffffffffffff)
}
