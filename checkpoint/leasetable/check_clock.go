package leasetable

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"penstock/diagnosis"
)

const (
	tolerated = time.Second
	glances   = 6 // over the fractions of a second
	between   = 180 * time.Millisecond
)

// DiagnoseClock compares this machine's clock with the service's, by asking for the table, which need not exist. An
// answer tells the time in whole seconds; several, at different fractions of a second, narrow the difference down. It
// takes about a second.
func (t *Table) DiagnoseClock(ctx context.Context) diagnosis.Finding {
	f := diagnosis.Finding{System: system, Item: "clock", Name: "this machine", Level: diagnosis.Warn}
	var ahead offset
	ticker := time.NewTicker(between)
	defer ticker.Stop()
	for range glances {
		asked := time.Now()
		told, err := t.serverTime(ctx)
		if err != nil {
			return failed(f.Item, f.Name, "DescribeTable", t.name, failure("DescribeTable", t.name, err))
		}
		ahead.narrow(told, asked, time.Now())
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	switch off := ahead.middle().Abs().Round(100 * time.Millisecond); {
	case !ahead.known:
		f.Found, f.Do = "could not be compared: DynamoDB's answers tell no time", "see that NTP runs here"
	case ahead.least > tolerated, ahead.most < -tolerated:
		f.Found = fmt.Sprintf("is %s off DynamoDB's clock", off)
		f.Do = "see that NTP runs here: by a wrong clock it cannot be told which leases have lapsed"
	default:
		f.Level, f.Found = diagnosis.OK, "agrees with DynamoDB's clock to a second"
	}
	return f
}

// serverTime returns the Date of an answer, zero if it has none. A refusal is an answer too.
func (t *Table) serverTime(ctx context.Context) (time.Time, error) {
	out, err := t.client.api.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.name})
	if refused, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		date, _ := http.ParseTime(refused.Response.Header.Get("Date"))
		return date, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	date, _ := awsmiddleware.GetServerTime(out.ResultMetadata)
	return date, nil
}

// offset is how far another clock is ahead, between two bounds.
type offset struct {
	known       bool
	least, most time.Duration
}

// narrow takes a time told in whole seconds, cut off, at some moment between asked and answered.
func (o *offset) narrow(told, asked, answered time.Time) {
	if told.IsZero() {
		return
	}
	least := told.Sub(answered.Round(0))
	most := told.Add(time.Second).Sub(asked.Round(0))
	if !o.known {
		o.known, o.least, o.most = true, least, most
		return
	}
	o.least, o.most = max(o.least, least), min(o.most, most)
}

func (o *offset) middle() time.Duration { return (o.least + o.most) / 2 }
