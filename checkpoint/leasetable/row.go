package leasetable

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"penstock/checkpoint"
)

// Attribute names of the row format.
const (
	shardID      = "ShardID"
	assignedTo   = "AssignedTo"
	leaseTimeout = "LeaseTimeout"
	checkpointAt = "Checkpoint"
	parentShard  = "ParentShardId"
	claimRequest = "ClaimRequest"
)

type item = map[string]types.AttributeValue

// rowOf reads an item, whatever stands in it.
func rowOf(it item) checkpoint.Row {
	var row checkpoint.Row
	read := func(name string, a checkpoint.Attributes) string {
		v, ok := it[name]
		if !ok {
			return ""
		}
		text, ok := v.(*types.AttributeValueMemberS)
		switch {
		case !ok:
			row.Wrong |= a
			return ""
		case text.Value == "":
			row.Empty |= a
		}
		return text.Value
	}
	row.Shard = read(shardID, 0)
	row.Owner = read(assignedTo, checkpoint.OwnerAttribute)
	row.Timeout = read(leaseTimeout, checkpoint.TimeoutAttribute)
	row.Checkpoint = checkpoint.Sequence(read(checkpointAt, checkpoint.CheckpointAttribute))
	row.Parent = read(parentShard, checkpoint.ParentAttribute)
	row.Claim = read(claimRequest, checkpoint.ClaimAttribute)
	return row
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
