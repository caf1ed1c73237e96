package stream

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// userRecord is what a producer puts.
type userRecord struct{ key, hash, data string }

// message is an aggregate's protobuf message, its tables without repetitions, as the producer library writes it.
func message(records ...userRecord) []byte {
	var b []byte
	keys, hashes := map[string]uint64{}, map[string]uint64{}
	for _, r := range records {
		if _, ok := keys[r.key]; !ok {
			keys[r.key] = uint64(len(keys))
			b = protowire.AppendString(protowire.AppendTag(b, keysField, protowire.BytesType), r.key)
		}
		if _, ok := hashes[r.hash]; !ok && r.hash != "" {
			hashes[r.hash] = uint64(len(hashes))
			b = protowire.AppendString(protowire.AppendTag(b, hashesField, protowire.BytesType), r.hash)
		}
	}
	for _, r := range records {
		m := protowire.AppendVarint(protowire.AppendTag(nil, memberKeyField, protowire.VarintType), keys[r.key])
		if r.hash != "" {
			m = protowire.AppendVarint(protowire.AppendTag(m, memberHashField, protowire.VarintType), hashes[r.hash])
		}
		m = protowire.AppendString(protowire.AppendTag(m, memberDataField, protowire.BytesType), r.data)
		b = protowire.AppendBytes(protowire.AppendTag(b, membersField, protowire.BytesType), m)
	}
	return b
}

// sealed puts magic and MD5 round a message.
func sealed(message []byte) []byte {
	sum := md5.Sum(message)
	return bytes.Join([][]byte{aggregateMagic, message, sum[:]}, nil)
}

var put = time.UnixMilli(1795255200123)

// twoRecords is an aggregate spelled out by the format's description, so that it is not only read by what wrote it: magic,
// two keys, two records; the MD5 comes behind.
const twoRecords = "" +
	"f3899ac2" +
	"0a016b" + "0a016c" + // partition_key_table: "k", "l"
	"1a06" + "0800" + "1a026869" + // Record: key 0, data "hi"
	"1a07" + "0801" + "1a03627965" // Record: key 1, data "bye"

func TestAnAggregateIsTakenApart(t *testing.T) {
	data, err := hex.DecodeString(twoRecords)
	if err != nil {
		t.Fatal(err)
	}
	plain := Record{Sequence: "7", PartitionKey: "p", Data: []byte("{}"), Arrival: put}
	got, foreign := deaggregate([]Record{plain, {Sequence: "8", PartitionKey: "a", Data: sealed(data[4:]), Arrival: put}, plain}, HashRange{})
	want := []Record{plain,
		{Sequence: "8", SubSequence: 0, More: true, PartitionKey: "k", Data: []byte("hi"), Arrival: put},
		{Sequence: "8", SubSequence: 1, PartitionKey: "l", Data: []byte("bye"), Arrival: put},
		plain}
	if fmt.Sprint(got) != fmt.Sprint(want) || foreign != 0 {
		t.Errorf("%d foreign, got\n%v, want\n%v", foreign, got, want)
	}
}

func TestWhatWasPutTogetherComesApartInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) userRecord {
			return userRecord{rapid.SampledFrom([]string{"", "a", "b", "ü"}).Draw(t, "key"),
				rapid.SampledFrom([]string{"", "0", "17", "340282366920938463463374607431768211455", "1e9"}).Draw(t, "hash"), rapid.String().Draw(t, "data")}
		}), 1, 20).Draw(t, "records")
		got, _ := deaggregate([]Record{{Sequence: "8", Data: sealed(message(records...)), Arrival: put}}, HashRange{})
		if len(got) != len(records) {
			t.Fatalf("%d records, want %d", len(got), len(records))
		}
		for i, r := range got {
			if r.Fault != nil || r.Sequence != "8" || r.SubSequence != int64(i) || r.More != (i < len(got)-1) ||
				r.PartitionKey != records[i].key || string(r.Data) != records[i].data || !r.Arrival.Equal(put) {
				t.Errorf("record %d: %+v, want %+v", i, r, records[i])
			}
		}
	})
}

// What is broken is one record, with the bytes there are and the reason; its neighbours are sound.
func TestABrokenAggregateOrMemberIsOneRecord(t *testing.T) {
	sound := message(userRecord{"k", "", "one"}, userRecord{"k", "", "two"})
	member := func(fields ...[]byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, membersField, protowire.BytesType), bytes.Join(fields, nil))
	}
	key := func(i uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, memberKeyField, protowire.VarintType), i)
	}
	hash := func(i uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, memberHashField, protowire.VarintType), i)
	}
	text := protowire.AppendString(protowire.AppendTag(nil, memberDataField, protowire.BytesType), "bad")
	for name, c := range map[string]struct {
		data  []byte
		fault string
		good  int // records without a fault
	}{
		"another MD5":        {append(append(bytes.Clone(aggregateMagic), sound...), make([]byte, md5.Size)...), "its MD5 is not that of its message", 0},
		"cut":                {sealed(sound)[:30], "its MD5 is not that of its message", 0},
		"only the magic":     {aggregateMagic, "4 bytes: must have the 16 of its MD5 behind the first 4", 0},
		"no protobuf":        {sealed([]byte{0xff, 0xff, 0xff}), "no protobuf", 0},
		"cut protobuf":       {sealed(sound[:len(sound)-1]), "no protobuf: field 3", 0},
		"another wire type":  {sealed(protowire.AppendVarint(protowire.AppendTag(nil, membersField, protowire.VarintType), 7)), "field 3 has wire type 0: must be 2", 0},
		"nothing in it":      {sealed(nil), "no record in it", 0},
		"too many":           {sealed(bytes.Repeat(member(), maxMembers+1)), "more than 100000 records", 0},
		"key out of range":   {sealed(append(bytes.Clone(sound), member(key(1), text)...)), "record 2 of an aggregate of 3: its partition key has index 1: the table has 1", 2},
		"huge index":         {sealed(append(bytes.Clone(sound), member(key(1<<63), text)...)), "index 9223372036854775808", 2},
		"hash out of range":  {sealed(append(bytes.Clone(sound), member(key(0), hash(0), text)...)), "its explicit hash key has index 0: the table has 0", 2},
		"no key":             {sealed(append(bytes.Clone(sound), member(text)...)), "it has no partition key", 2},
		"no data":            {sealed(append(bytes.Clone(sound), member(key(0))...)), "it has no data", 2},
		"data of wrong type": {sealed(append(bytes.Clone(sound), member(key(0), protowire.AppendVarint(protowire.AppendTag(nil, memberDataField, protowire.VarintType), 1))...)), "its data has wire type 0: must be 2", 2},
		"member cut":         {sealed(append(member(key(0), text[:2]), sound...)), "record 0 of an aggregate of 3: no protobuf", 2},
	} {
		got, _ := deaggregate([]Record{{Sequence: "8", PartitionKey: "outer", Data: c.data, Arrival: put}}, HashRange{})
		var faults []string
		for i, r := range got {
			if r.Sequence != "8" || r.More != (i < len(got)-1) {
				t.Errorf("%s: record %d: %+v", name, i, r)
			}
			if r.Fault != nil {
				faults = append(faults, r.Fault.Error())
				if c.good == 0 && !bytes.Equal(r.Data, c.data) {
					t.Errorf("%s: the record's bytes were changed", name)
				}
			}
		}
		if len(faults) != 1 || len(got)-1 != c.good || !strings.Contains(faults[0], c.fault) {
			t.Errorf("%s: %d records with faults %q, want %d sound ones and %q", name, len(got), faults, c.good, c.fault)
		}
	}
}

// A member belongs to the shard by its explicit hash key, or else by the MD5 of its partition key.
func TestMembersOfOtherShardsAreHandedOutAndCounted(t *testing.T) {
	sum := md5.Sum([]byte("k"))
	own := HashRange{From: sum, To: sum}
	data := sealed(message(userRecord{"k", "", "mine"}, userRecord{"l", "", "other"},
		userRecord{"l", new(big.Int).SetBytes(sum[:]).String(), "mine by its hash"}, userRecord{"k", "0", "other by its hash"}))
	got, foreign := deaggregate([]Record{{Sequence: "8", Data: data}}, own)
	if len(got) != 4 || foreign != 2 {
		t.Errorf("%d records of which %d foreign, want 4 and 2", len(got), foreign)
	}
}

func FuzzDeaggregate(f *testing.F) {
	f.Add(message(userRecord{"k", "1", "data"}, userRecord{"l", "", ""}), true)
	f.Add([]byte{0xf3, 0x89, 0x9a, 0xc2, 0}, false)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal {
			data = sealed(data)
		}
		got, _ := deaggregate([]Record{{Sequence: "8", Data: data}}, HashRange{})
		if len(got) == 0 {
			t.Fatal("the record is gone")
		}
		for i, r := range got {
			if r.More != (i < len(got)-1) || r.SubSequence != int64(i) || r.Sequence != "8" {
				t.Errorf("record %d of %d: %+v", i, len(got), r)
			}
		}
	})
}
