package stream

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"math/big"

	"google.golang.org/protobuf/encoding/protowire"
)

// An aggregate is one record of the stream that holds several of a producer: four bytes of magic, a protobuf message, and
// the MD5 of that message. The message has tables of partition keys and of explicit hash keys, and for each record the
// indices of its keys and its data (Amazon Kinesis Producer Library, aggregation-format.md).
var aggregateMagic = []byte{0xf3, 0x89, 0x9a, 0xc2}

// maxMembers bounds the records of one aggregate, which the format does not: a million empty ones fit in 6 MiB.
const maxMembers = 100_000

// Fields of the message AggregatedRecord, and of its Record.
const (
	keysField    protowire.Number = 1
	hashesField  protowire.Number = 2
	membersField protowire.Number = 3

	memberKeyField  protowire.Number = 1
	memberHashField protowire.Number = 2
	memberDataField protowire.Number = 3
)

// deaggregate returns the records with every aggregate replaced by its members, in their order, and how many of those
// have keys that belong to another shard.
//
// An aggregate that is broken stays one record, with the fault; so does a member, and its neighbours are none the worse.
// Members of other shards are handed out like all others: consumers that drop them expect a second copy elsewhere, which
// streams that spread one key over all shards do not have.
func deaggregate(records []Record, shard HashRange) (out []Record, foreign int) {
	if !holdsAggregate(records) {
		return records, 0
	}
	for _, r := range records {
		if !isAggregate(r.Data) {
			out = append(out, r)
			continue
		}
		a, err := parseAggregate(r.Data)
		if err != nil {
			r.Fault = fmt.Errorf("aggregate: %w", err)
			out = append(out, r)
			continue
		}
		for i, raw := range a.members {
			m := Record{Sequence: r.Sequence, SubSequence: int64(i), More: i < len(a.members)-1, PartitionKey: r.PartitionKey, Data: raw, Arrival: r.Arrival}
			hash, err := a.member(raw, &m)
			if err != nil {
				m.Fault = fmt.Errorf("record %d of an aggregate of %d: %w", i, len(a.members), err)
			} else if !shard.holds(hash) {
				foreign++
			}
			out = append(out, m)
		}
	}
	return out, foreign
}

// isAggregate reports whether data begins as an aggregate does. No UTF-8 begins so.
func isAggregate(data []byte) bool { return bytes.HasPrefix(data, aggregateMagic) }

func holdsAggregate(records []Record) bool {
	for i := range records {
		if isAggregate(records[i].Data) {
			return true
		}
	}
	return false
}

// aggregate is the message of an aggregate. All of it aliases the record.
type aggregate struct {
	keys, hashes, members [][]byte
}

// parseAggregate reads an aggregate, but not what its members hold.
func parseAggregate(data []byte) (aggregate, error) {
	body := data[len(aggregateMagic):]
	if len(body) < md5.Size {
		return aggregate{}, fmt.Errorf("%d bytes: must have the %d of its MD5 behind the first %d", len(data), md5.Size, len(aggregateMagic))
	}
	message, sum := body[:len(body)-md5.Size], body[len(body)-md5.Size:]
	if md5.Sum(message) != [md5.Size]byte(sum) {
		return aggregate{}, errors.New("its MD5 is not that of its message")
	}
	var a aggregate
	err := fields(message, func(field protowire.Number, typ protowire.Type, value []byte) error {
		list := map[protowire.Number]*[][]byte{keysField: &a.keys, hashesField: &a.hashes, membersField: &a.members}[field]
		if list == nil {
			return nil
		}
		if typ != protowire.BytesType {
			return fmt.Errorf("field %d has wire type %d: must be %d", field, typ, protowire.BytesType)
		}
		text, n := protowire.ConsumeBytes(value)
		if n < 0 {
			return protowire.ParseError(n)
		}
		*list = append(*list, text)
		if len(a.members) > maxMembers {
			return fmt.Errorf("more than %d records", maxMembers)
		}
		return nil
	})
	if err == nil && len(a.members) == 0 {
		err = errors.New("no record in it")
	}
	return a, err
}

// member reads a member into r and returns the hash of its key.
func (a *aggregate) member(raw []byte, r *Record) (hash hashKey, err error) {
	var data []byte
	key, explicit, found := -1, -1, false
	err = fields(raw, func(field protowire.Number, typ protowire.Type, value []byte) error {
		switch field {
		case memberKeyField, memberHashField:
			into, table, name := &key, a.keys, "partition key"
			if field == memberHashField {
				into, table, name = &explicit, a.hashes, "explicit hash key"
			}
			if typ != protowire.VarintType {
				return fmt.Errorf("the index of its %s has wire type %d: must be %d", name, typ, protowire.VarintType)
			}
			index, n := protowire.ConsumeVarint(value)
			if n < 0 {
				return protowire.ParseError(n)
			}
			if index >= uint64(len(table)) {
				return fmt.Errorf("its %s has index %d: the table has %d", name, index, len(table))
			}
			*into = int(index)
		case memberDataField:
			if typ != protowire.BytesType {
				return fmt.Errorf("its data has wire type %d: must be %d", typ, protowire.BytesType)
			}
			text, n := protowire.ConsumeBytes(value)
			if n < 0 {
				return protowire.ParseError(n)
			}
			data, found = text, true
		}
		return nil
	})
	switch {
	case err != nil:
		return hashKey{}, err
	case key < 0:
		return hashKey{}, errors.New("it has no partition key")
	case !found:
		return hashKey{}, errors.New("it has no data")
	}
	r.PartitionKey, r.Data = string(a.keys[key]), data
	if explicit >= 0 {
		// It decides nothing but a count: one that is no number is no reason to park an event.
		if hash, err := parseHashKey(string(a.hashes[explicit])); err == nil {
			return hash, nil
		}
	}
	return md5.Sum(a.keys[key]), nil
}

// fields calls each for every field of a protobuf message, with the bytes of its value.
func fields(message []byte, each func(protowire.Number, protowire.Type, []byte) error) error {
	for len(message) > 0 {
		field, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("no protobuf: %w", protowire.ParseError(n))
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(field, typ, message)
		if size < 0 {
			return fmt.Errorf("no protobuf: field %d: %w", field, protowire.ParseError(size))
		}
		if err := each(field, typ, message[:size]); err != nil {
			return err
		}
		message = message[size:]
	}
	return nil
}

// hashKey is a place in the ring of 128 bits over which a stream's shards are spread, big-endian. That of a partition key
// is its MD5.
type hashKey [16]byte

// parseHashKey reads a hash key as the service writes it: in decimal.
func parseHashKey(text string) (key hashKey, err error) {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 8*len(key) {
		return hashKey{}, fmt.Errorf("hash key %q: must be a decimal number below 2^128", text)
	}
	n.FillBytes(key[:])
	return key, nil
}

// HashRange is the part of the ring that a shard has. The zero value holds everything: it is not known.
type HashRange struct{ From, To hashKey }

func (r HashRange) holds(key hashKey) bool {
	return r == HashRange{} || bytes.Compare(key[:], r.From[:]) >= 0 && bytes.Compare(key[:], r.To[:]) <= 0
}
