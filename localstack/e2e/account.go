package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"penstock/localstack"
	"penstock/localstack/shop"
)

// selectRows reads whole rows as Cassandra itself prints them.
const selectRows = `SELECT JSON * FROM %s.%s_g1`

// Result is how a site's rows and letters stand against the oracle.
type Result struct {
	shop.Account
	Differences []string // the first few, in words
}

// Right tells whether nothing is lost and every row is as it should be.
func (r Result) Right() bool { return r.Lost == 0 && r.Mismatched == 0 && r.Strangers == 0 }

// Account reads every row of both order tables, and every letter, and holds them against the oracle before a redrive.
func (s *Site) Account(ctx context.Context, oracle *shop.Oracle) (Result, error) {
	return s.AccountAt(ctx, oracle, shop.BeforeRedrive)
}

// AccountAt does so at any stage.
func (s *Site) AccountAt(ctx context.Context, oracle *shop.Oracle, stage shop.Stage) (Result, error) {
	session, err := s.Cassandra()
	if err != nil {
		return Result{}, err
	}
	defer session.Close()
	var byID, byCustomer shop.Report
	tables, reading := errgroup.WithContext(ctx)
	for table, report := range map[shop.Table]*shop.Report{shop.OrderByID: &byID, shop.OrdersByCustomer: &byCustomer} {
		tables.Go(func() (err error) {
			*report, err = oracle.Check(table, stage, s.rows(reading, session, table))
			return err
		})
	}
	if err := tables.Wait(); err != nil {
		return Result{}, err
	}
	account, err := oracle.Account(byID, byCustomer, s.payloads(ctx))
	if err != nil {
		return Result{}, err
	}
	return Result{account, append(byID.Differences, byCustomer.Differences...)}, nil
}

// rows reads a table by the plain driver.
func (s *Site) rows(ctx context.Context, session *gocql.Session, table shop.Table) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		rows := session.Query(fmt.Sprintf(selectRows, s.Name, table)).PageSize(500).IterContext(ctx)
		var row string
		for rows.Scan(&row) {
			if !yield([]byte(row), nil) {
				_ = rows.Close()
				return
			}
		}
		if err := rows.Close(); err != nil {
			yield(nil, fmt.Errorf("read %s: %w", table, err))
		}
	}
}

// Letters returns the key and the text of every dead letter of the site, in the order of their keys.
func (s *Site) Letters(ctx context.Context) iter.Seq2[Letter, error] {
	bucket := localstack.DefaultBucket
	return func(yield func(Letter, error) bool) {
		client := s.S3()
		prefix := s.Name + "/"
		pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Letter{}, fmt.Errorf("list letters: %w", err))
				return
			}
			for _, object := range page.Contents {
				if strings.Contains(*object.Key, "/_outcomes/") { // what became of letters
					continue
				}
				letter, err := readLetter(ctx, client, bucket, *object.Key)
				if !yield(letter, err) || err != nil {
					return
				}
			}
		}
	}
}

// Letter is a dead letter as anybody finds it who knows Lambda's record and our member beside it.
type Letter struct {
	Key     string
	Stage   string
	Code    string
	Message string
	Payload []byte
}

func readLetter(ctx context.Context, client *s3.Client, bucket, key string) (letter Letter, err error) {
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return Letter{}, fmt.Errorf("get letter %s: %w", key, err)
	}
	defer func() { err = errors.Join(err, object.Body.Close()) }()
	text, err := io.ReadAll(object.Body)
	if err != nil {
		return Letter{}, fmt.Errorf("get letter %s: %w", key, err)
	}
	var record struct {
		Payload  string
		Penstock struct {
			Failure struct{ Stage, Code, Message string }
		}
	}
	if err := json.Unmarshal(text, &record); err != nil {
		return Letter{}, fmt.Errorf("decode letter %s: %w", key, err)
	}
	var invocation struct {
		Records []struct {
			Kinesis struct{ Data []byte }
		}
	}
	if err := json.Unmarshal([]byte(record.Payload), &invocation); err != nil || len(invocation.Records) != 1 {
		return Letter{}, fmt.Errorf("decode letter %s: its payload holds %d records: %w", key, len(invocation.Records), err)
	}
	failure := record.Penstock.Failure
	return Letter{key, failure.Stage, failure.Code, failure.Message, invocation.Records[0].Kinesis.Data}, nil
}

// payloads returns the payload of every letter.
func (s *Site) payloads(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for letter, err := range s.Letters(ctx) {
			if !yield(letter.Payload, err) {
				return
			}
		}
	}
}
