package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/diagnosis"
	"penstock/localstack/emulator"
)

// answers is every error that a call of ours can be answered with: those of the service's model, those that all
// services of AWS have (https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html), and what stands
// between us and them may say.
var answers = map[emulator.APIError]Kind{
	{Type: "ExpiredIteratorException"}: Rewind,

	{Type: "ProvisionedThroughputExceededException"}: Throttled,
	{Type: "LimitExceededException"}:                 Throttled,
	{Type: "KMSThrottlingException"}:                 Throttled,
	{Type: "ThrottlingException"}:                    Throttled,

	{Type: "InternalFailureException", Status: http.StatusInternalServerError}: Transient,
	{Type: "InternalFailure"}:               Transient,
	{Type: "ServiceUnavailable"}:            Transient,
	{Type: "ResourceInUseException"}:        Transient, // the stream is being created or changed
	{Type: "ExpiredNextTokenException"}:     Transient, // the next listing begins anew
	{Type: "DryRunOperationException"}:      Transient, // not asked for by any call but those of check
	{Type: "ExpiredTokenException"}:         Transient, // credentials that are about to be renewed
	{Type: "RequestExpired"}:                Transient,
	{Type: "RequestAbortedException"}:       Transient,
	{Type: "RequestTimeoutException"}:       Transient,
	{Type: "MalformedHttpRequestException"}: Transient, // a connection that garbles
	{Type: "NobodyHeardOfException"}:        Transient,
	{Status: http.StatusBadGateway}:         Transient, // of a proxy

	{Type: "ResourceNotFoundException"}:           Fatal,
	{Type: "InvalidArgumentException"}:            Fatal,
	{Type: "ValidationException"}:                 Fatal,
	{Type: "UnknownOperationException"}:           Fatal,
	{Type: "AccessDeniedException"}:               Fatal,
	{Type: "NotAuthorized"}:                       Fatal,
	{Type: "OptInRequired"}:                       Fatal,
	{Type: "UnrecognizedClientException"}:         Fatal,
	{Type: "InvalidSignatureException"}:           Fatal,
	{Type: "IncompleteSignature"}:                 Fatal,
	{Type: "InvalidClientTokenId"}:                Fatal,
	{Type: "MissingAuthenticationTokenException"}: Fatal,
	{Type: "KMSAccessDeniedException"}:            Fatal,
	{Type: "KMSDisabledException"}:                Fatal,
	{Type: "KMSInvalidStateException"}:            Fatal,
	{Type: "KMSNotFoundException"}:                Fatal,
	{Type: "KMSOptInRequired"}:                    Fatal,
}

// A release of the SDK that knows more errors makes this fail, and somebody decide what they mean.
func TestEveryErrorOfTheServicesModelIsAmongTheAnswers(t *testing.T) {
	known := map[string]bool{}
	for answer := range answers {
		known[string(answer.Type)] = true
	}
	modelled := 0
	for id, entry := range kinesis.TypeRegistry.Entries {
		if _, ok := entry.New().(error); !ok {
			continue
		}
		modelled++
		if _, name, _ := strings.Cut(id, "#"); !known[name] {
			t.Errorf("nobody has decided what %s means", name)
		}
	}
	if modelled == 0 {
		t.Error("the SDK keeps its model somewhere else now")
	}
}

// meets makes a call that meets an answer.
func (r *rig) meets(action string, answer emulator.APIError, call func() error) error {
	r.Helper()
	r.server.Intercept(emulator.Script(emulator.Fault{Action: action, Effect: emulator.Refuse(&answer)}))
	defer r.server.Intercept(nil)
	return call()
}

// Whatever a reader is answered, in the middle of a shard: it goes on after the last record it handed out, or stops and
// says of which stream, at which call, and what to do.
func TestEveryAnswerLeadsOnOrToASentenceForAnOperator(t *testing.T) {
	for answer, want := range answers {
		t.Run(fmt.Sprintf("%s%d", answer.Type, answer.Status), func(t *testing.T) {
			answer.Message = "says the service"
			synctest.Test(t, func(t *testing.T) {
				r := start(t, emulator.Config{}, 1)
				r.put(0, 9, 0)
				shard := r.only()
				for _, action := range []string{"GetRecords", "GetShardIterator"} {
					var g reading
					reader := r.Reader(shard, "", Start{})
					g.until(t, t.Context(), reader, 3, 3)
					if action == "GetShardIterator" {
						reader.iterator = nil // as after one that expired
					}
					var batch Batch
					err := r.meets(action, answer, func() (err error) {
						batch, err = reader.Next(t.Context(), 3)
						return err
					})
					if want == Fatal {
						judgeFatal(t, action, err)
					} else {
						judgePassing(t, action, batch, err, want)
					}
					// Also after what is fatal: what an operator has put right is read on from where it was.
					g.until(t, t.Context(), reader, 3, 9)
					g.is(t, 0, 9)
				}
				for action, call := range map[string]func() error{
					"ListShards":            func() error { _, err := r.Shards(t.Context()); return err },
					"DescribeStreamSummary": func() error { _, err := r.Describe(t.Context()); return err },
				} {
					err := r.meets(action, answer, call)
					failed, ok := errors.AsType[*Error](err)
					if !ok || failed.Kind != want {
						t.Errorf("%s: %v, want kind %d", action, err, want)
					}
					if want == Fatal {
						judgeFatal(t, action, err)
					}
					if err := call(); err != nil {
						t.Errorf("%s afterwards: %v", action, err)
					}
				}
			})
		})
	}
}

func judgeFatal(t *testing.T, action string, err error) {
	t.Helper()
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Kind != Fatal || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), action) ||
		!strings.Contains(err.Error(), "says the service") {
		t.Errorf("%s: %v, want a fatal error that names stream and action and holds the service's word", action, err)
		return
	}
	if failed.advice() == "" {
		t.Errorf("%s: %v: and what now?", action, err)
	}
}

func judgePassing(t *testing.T, action string, batch Batch, err error, want Kind) {
	t.Helper()
	failed, ok := errors.AsType[*Error](batch.Failed)
	if err != nil || !ok || failed.Kind != want || len(batch.Records) != 0 || batch.Known || batch.End || failed.advice() != "" {
		t.Errorf("%s: %+v, %v, want a batch without records that failed with kind %d", action, batch, err, want)
	}
}

// What check says of an answer is what an operator can act upon: a key that is disabled is no service that is away.
func TestDiagnoseTellsARefusalFromSilence(t *testing.T) {
	for code, want := range map[emulator.ErrorType]struct {
		level diagnosis.Level
		do    string
	}{
		"AccessDeniedException":       {diagnosis.Denied, "allow kinesis:GetRecords on stream orders"},
		"UnrecognizedClientException": {diagnosis.Denied, "correct the credentials"},
		"ExpiredTokenException":       {diagnosis.Denied, "correct the credentials"},
		"KMSAccessDeniedException":    {diagnosis.Denied, "allow kms:Decrypt on the key of stream orders"},
		"KMSDisabledException":        {diagnosis.Different, "KMS key of stream orders"},
		"UnknownOperationException":   {diagnosis.Different, "AWS_ENDPOINT_URL_KINESIS"},
		"InternalFailure":             {diagnosis.Unreachable, "see whether Kinesis answers"},
		"ThrottlingException":         {diagnosis.Unreachable, "see whether Kinesis answers"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, emulator.Config{}, 1)
			var findings []diagnosis.Finding
			_ = r.meets("GetRecords", emulator.APIError{Type: code, Message: "says the service"}, func() error {
				findings, _, _ = r.Diagnose(context.WithoutCancel(t.Context()))
				return nil
			})
			last := findings[len(findings)-1]
			if last.Level != want.level || !strings.Contains(last.Do, want.do) || !strings.Contains(last.Found, "says the service") {
				t.Errorf("%s: %+v", code, last)
			}
		})
	}
}
