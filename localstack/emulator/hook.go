package emulator

import (
	"context"
	"errors"
)

// Faults of the connection that a hook may return from [Server.Intercept], beside an [*APIError].
var (
	// ErrCut closes the connection in place of an answer; the action is not carried out.
	ErrCut = errors.New("connection cut")

	// ErrLoseAnswer carries the action out and then closes the connection in place of the answer: the client cannot know.
	ErrLoseAnswer = errors.New("answer lost")

	// ErrEnd ends a subscription in order, before the event that it is returned for.
	ErrEnd = errors.New("stream ended")
)

// Call is a well-formed request at the moment before it is carried out, or an event of a subscription before it is sent.
type Call struct {
	// Action is the API's name, for example GetRecords, and SubscribeToShardEvent for an event.
	Action string

	// Stream is the stream's name; empty where the action names none (ListStreams).
	Stream string

	// Shard is the shard id; set for the actions that read one shard (GetShardIterator, GetRecords, SubscribeToShard) and events.
	Shard string

	// Consumer is the name of the consumer; set for SubscribeToShard and events.
	Consumer string
}

// Put is one record of a PutRecord or PutRecords at the moment before it is stored.
type Put struct {
	Stream       string
	Shard        string
	PartitionKey string
}

// Hook decides what becomes of a call. It may wait before it returns, as long as it likes and on whatever it likes but no longer
// than ctx, which ends when the client gives up or the server stops; it is called without a lock held, by many goroutines at
// once. nil lets the call through, an [*APIError] is sent as it is, [ErrLoseAnswer] is as documented there; every other error,
// ctx's own and [ErrCut] among them, closes the connection without an answer.
//
// For an event nil sends it, [ErrEnd] ends the stream in order, an [*APIError] ends it with a frame that holds the error, [ErrCut]
// closes the connection after half of the event, and every other error closes it before the event.
type Hook func(ctx context.Context, call Call) error

// RecordHook decides what becomes of one record. nil stores it; an error fails it alone: in PutRecords it becomes the record's
// ErrorCode and ErrorMessage, in PutRecord it is the answer.
type RecordHook func(put Put) *APIError

// Intercept puts hook in front of every call from now on, in place of the one before; nil removes it. [Script] makes a hook of a
// list of faults.
func (s *Server) Intercept(hook Hook) {
	if hook == nil {
		s.hook.Store(nil)
		return
	}
	s.hook.Store(&hook)
}

// InterceptRecords puts hook in front of every record written from now on, in place of the one before; nil removes it.
func (s *Server) InterceptRecords(hook RecordHook) {
	if hook == nil {
		s.recordHook.Store(nil)
		return
	}
	s.recordHook.Store(&hook)
}

// admit asks the hook about a call, remembers an answer that is to be lost, and holds the control plane to its quota.
func (s *Server) admit(ctx context.Context, q *request, call Call) error {
	call.Action = q.action
	if hook := s.hook.Load(); hook != nil {
		err := (*hook)(ctx, call)
		if errors.Is(err, ErrLoseAnswer) {
			q.loseAnswer = true
		} else if err != nil {
			return err
		}
	}
	if s.limited() {
		return s.admitControl(call)
	}
	return nil
}
