package leasetable

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"penstock/checkpoint"
)

// expression collects the parts of a conditional update. All parts of the condition are joined by AND.
type expression struct {
	condition []string
	set       []string
	remove    []string
	names     map[string]string
	values    item
}

// name returns the placeholder of an attribute. All names go through it, so none can be a reserved word.
func (e *expression) name(attribute string) string {
	placeholder := "#" + attribute
	e.names[placeholder] = attribute
	return placeholder
}

func (e *expression) value(v types.AttributeValue) string {
	placeholder := ":v" + strconv.Itoa(len(e.values))
	e.values[placeholder] = v
	return placeholder
}

func (e *expression) require(format string, args ...any) {
	e.condition = append(e.condition, fmt.Sprintf(format, args...))
}

func (e *expression) assign(attribute, value string) {
	e.set = append(e.set, e.name(attribute)+" = "+e.value(text(value)))
}

func (e *expression) drop(attribute string) { e.remove = append(e.remove, e.name(attribute)) }

// all returns the condition.
func (e *expression) all() string { return strings.Join(e.condition, " AND ") }

// update returns the update expression; "" if there is nothing to change.
func (e *expression) update() string {
	var parts []string
	if len(e.set) > 0 {
		parts = append(parts, "SET "+strings.Join(e.set, ", "))
	}
	if len(e.remove) > 0 {
		parts = append(parts, "REMOVE "+strings.Join(e.remove, ", "))
	}
	return strings.Join(parts, " ")
}

// equal requires that an attribute holds this text.
func (e *expression) equal(attribute, value string) {
	e.require("%s = %s", e.name(attribute), e.value(text(value)))
}

// asSeen requires that an attribute is as a row showed it: absent, text, or of another type.
func (e *expression) asSeen(attribute, value string, row checkpoint.Row, a checkpoint.Attributes) {
	switch {
	case row.Wrong.Has(a):
		name := e.name(attribute)
		e.require("attribute_exists(%s) AND NOT attribute_type(%s, %s)", name, name, e.value(text("S")))
	case value == "" && !row.Empty.Has(a):
		e.require("attribute_not_exists(%s)", e.name(attribute))
	default:
		e.equal(attribute, value)
	}
}

// unfinished requires a shard that was not read to its end.
func (e *expression) unfinished() {
	e.require("NOT %s = %s", e.name(checkpointAt), e.value(text(string(checkpoint.ShardEnd))))
}

// commit writes a checkpoint and requires that it does not move back: sequence numbers have no leading zeros, so the
// later one is the longer one or of the same length and greater as text.
func (e *expression) commit(s checkpoint.Sequence) {
	if s == "" {
		return
	}
	name, to := e.name(checkpointAt), e.value(text(string(s)))
	length := e.value(&types.AttributeValueMemberN{Value: strconv.Itoa(len(s))})
	e.require("(attribute_not_exists(%[1]s) OR size(%[1]s) < %[2]s OR (size(%[1]s) = %[2]s AND %[1]s <= %[3]s))", name, length, to)
	e.set = append(e.set, name+" = "+to)
}

// expressionOf puts a change into the words of DynamoDB.
func expressionOf(c checkpoint.Change) *expression {
	e := &expression{names: map[string]string{}, values: item{}}
	switch c.Op {
	case checkpoint.Create:
		e.require("attribute_not_exists(%s)", e.name(shardID))
		if c.Parent != "" {
			e.assign(parentShard, c.Parent)
		}
		if c.Commit != "" {
			e.assign(checkpointAt, string(c.Commit))
		}
	case checkpoint.Acquire:
		e.acquire(c)
	case checkpoint.Renew:
		e.held(c)
		e.assign(leaseTimeout, c.Next.Timeout)
	case checkpoint.Release:
		e.held(c)
		e.drop(assignedTo)
	case checkpoint.Finish:
		e.held(c)
		e.drop(assignedTo)
		e.assign(checkpointAt, string(checkpoint.ShardEnd))
	case checkpoint.Seek, checkpoint.Reopen:
		e.seek(c)
	case checkpoint.Heal:
		e.exactly(c.Seen)
		e.heal(c.Seen)
	case checkpoint.Delete:
		e.exactly(c.Seen)
	}
	return e
}

// seek requires pair and checkpoint as they were seen. The guard against going back is left out: it is what seeking is for.
func (e *expression) seek(c checkpoint.Change) {
	seen := c.Seen
	e.require("attribute_exists(%s)", e.name(shardID))
	if c.Op == checkpoint.Seek {
		e.unfinished()
	} else {
		e.equal(checkpointAt, string(checkpoint.ShardEnd))
	}
	e.asSeen(assignedTo, seen.Owner, seen, checkpoint.OwnerAttribute)
	e.asSeen(leaseTimeout, seen.Timeout, seen, checkpoint.TimeoutAttribute)
	e.asSeen(checkpointAt, string(seen.Checkpoint), seen, checkpoint.CheckpointAttribute)
	e.assign(checkpointAt, string(c.Commit))
	e.drop(assignedTo)
}

// exactly requires a row that is in every attribute as it was seen.
func (e *expression) exactly(seen checkpoint.Row) {
	e.require("attribute_exists(%s)", e.name(shardID))
	for _, a := range attributesOf(seen) {
		e.asSeen(a.name, a.value, seen, a.attribute)
	}
}

// heal writes what is left of a row when it is healed.
func (e *expression) heal(seen checkpoint.Row) {
	before, after := attributesOf(seen), attributesOf(seen.Healed())
	for i, a := range before {
		if there := a.value != "" || (seen.Empty | seen.Wrong).Has(a.attribute); there && after[i].value == "" {
			e.drop(a.name)
		}
	}
}

// attributeOf is an attribute of a row.
type attributeOf struct {
	name      string
	value     string
	attribute checkpoint.Attributes
}

func attributesOf(row checkpoint.Row) []attributeOf {
	return []attributeOf{
		{assignedTo, row.Owner, checkpoint.OwnerAttribute},
		{leaseTimeout, row.Timeout, checkpoint.TimeoutAttribute},
		{checkpointAt, string(row.Checkpoint), checkpoint.CheckpointAttribute},
		{parentShard, row.Parent, checkpoint.ParentAttribute},
		{claimRequest, row.Claim, checkpoint.ClaimAttribute},
	}
}

func (e *expression) held(c checkpoint.Change) {
	e.equal(assignedTo, c.Held.Owner)
	e.equal(leaseTimeout, c.Held.Timeout)
	e.unfinished()
	e.commit(c.Commit)
}

// acquire requires the owner that was seen and, unless there was none, its timeout, and the checkpoint from which the
// taker goes on. It removes what no reader of the format can read.
func (e *expression) acquire(c checkpoint.Change) {
	seen := c.Seen
	e.require("attribute_exists(%s)", e.name(shardID))
	e.unfinished()
	e.asSeen(assignedTo, seen.Owner, seen, checkpoint.OwnerAttribute)
	if !seen.Free() {
		e.asSeen(leaseTimeout, seen.Timeout, seen, checkpoint.TimeoutAttribute)
	}
	e.asSeen(checkpointAt, string(seen.Checkpoint), seen, checkpoint.CheckpointAttribute)
	e.assign(assignedTo, c.Next.Owner)
	e.assign(leaseTimeout, c.Next.Timeout)
	if seen.Unreadable() {
		e.drop(checkpointAt)
	}
	switch {
	case seen.Parent == "" && c.Parent != "":
		e.assign(parentShard, c.Parent)
	case seen.Wrong.Has(checkpoint.ParentAttribute):
		e.drop(parentShard)
	}
	if seen.Wrong.Has(checkpoint.ClaimAttribute) || seen.Claim == c.Next.Owner {
		e.drop(claimRequest)
	}
}
