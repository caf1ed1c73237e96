package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"penstock/projector"
	"penstock/sink/cassandra"
)

// pressure is what GET /debug/pressure answers: what the view waits for, and why.
type pressure struct {
	Sentence string             `json:"sentence"`
	View     standing           `json:"view"`
	Writer   cassandra.Pressure `json:"writer"`
}

type standing struct {
	cassandra.Standing
	Behind cassandra.Seconds `json:"behind_seconds"`
}

// pressureOf asks the writer and the projector.
func pressureOf(w *cassandra.Writer, p *projector.Projector) func(now time.Time) pressure {
	return func(now time.Time) pressure {
		view, writer := cassandra.Standing(p.Standing(now)), w.Pressure(now)
		return pressure{cassandra.Bottleneck(writer, view), standing{view, cassandra.Seconds(view.Behind)}, writer}
	}
}

// loadOf is what metrics tell of the writer.
func loadOf(p cassandra.Pressure) projector.Load {
	load := projector.Load{
		Queued: p.Waiting, BackOff: p.BackOff, Tokens: p.Tokens, Attempts: p.Attempts, Successes: p.Successes, Cap: p.Cap, Capped: p.Capped,
	}
	for _, h := range p.Hosts {
		host := projector.HostLoad{
			Address: h.Address, Rack: h.Rack, State: state(h), Limit: h.Limit, InFlight: h.InFlight,
			Idle: time.Duration(h.Base), Latency: time.Duration(h.P75), Target: time.Duration(h.Target),
		}
		for _, d := range h.Taken {
			host.Decisions = append(host.Decisions, projector.DecisionLoad(d))
		}
		load.Hosts = append(load.Hosts, host)
	}
	for _, d := range p.Debts {
		load.Debts = append(load.Debts, projector.DebtLoad{
			Address: d.Address, Rack: d.Rack, Owed: d.Owed, Absent: d.Absent, RefusedIn: time.Duration(d.RefusedIn),
		})
	}
	return load
}

// state is the limiter's, or down where the driver has the host for that.
func state(h cassandra.HostPressure) string {
	if !h.Up {
		return "down"
	}
	return h.State
}

// servePressure answers as text for a terminal, or as JSON if asked to.
func (t *telemetry) servePressure(w http.ResponseWriter, r *http.Request) {
	ask := t.pressure.Load()
	if ask == nil {
		http.Error(w, "there is no writer yet: the daemon starts, and waits for what the log says", http.StatusServiceUnavailable)
		return
	}
	now := (*ask)(time.Now())
	format := r.URL.Query().Get("format")
	switch {
	case format == "json" || format == "" && strings.Contains(r.Header.Get("Accept"), "application/json"):
		w.Header().Set("Content-Type", "application/json")
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		_ = out.Encode(now) // the asker is gone
	case format == "" || format == "text":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = now.print(w)
	default:
		http.Error(w, fmt.Sprintf("format %q: must be text or json", format), http.StatusBadRequest)
	}
}

// print writes for a terminal: the sentence, then what it rests on.
func (p pressure) print(to io.Writer) error {
	w := p.Writer
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\n", p.Sentence)
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RACK\tHOST\tSTATE\tLIMIT\tHIGHEST\tIN FLIGHT\tP50\tP75\tP99\tIDLE\tTARGET\tRATE")
	for _, h := range w.Hosts {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Rack, h.Address, state(h), h.Limit, h.Highest, h.InFlight,
			ms(h.P50), ms(h.P75), ms(h.P99), ms(h.Base), ms(h.Target), rate(h))
	}
	table.Flush()

	fmt.Fprintf(&out, "\nrequests   %d wait for a permit, of %d shards; %d in flight; %d wait to be repeated\n", w.Waiting, w.Sources, w.InFlight, w.BackOff)
	for _, s := range w.Longest {
		fmt.Fprintf(&out, "           %d of %s, %s behind\n", s.Waiting, s.Name, age(s.Behind))
	}
	perSuccess := "none yet"
	if w.Successes > 0 {
		perSuccess = fmt.Sprintf("%.3f for each success", float64(w.Attempts)/float64(w.Successes))
	}
	fmt.Fprintf(&out, "attempts   %d, %s\n", w.Attempts, perSuccess)
	fmt.Fprintf(&out, "budget     %.0f of 500 tokens for repetitions\n", w.Tokens)
	if w.Capped {
		fmt.Fprintf(&out, "cap        %.0f requests a second, because of the debt\n", w.Cap)
	}
	if len(w.Debts) == 0 {
		fmt.Fprintln(&out, "debt       none")
	}
	for _, d := range w.Debts {
		fmt.Fprintf(&out, "debt       %s\n", debt(d))
	}

	for _, h := range w.Hosts {
		why := ""
		if h.Why != "" {
			why = fmt.Sprintf(", in quarantine since %s: %s", h.Since.UTC().Format(time.TimeOnly), h.Why)
		}
		fmt.Fprintf(&out, "\ndecisions on %s %s%s\n", h.Rack, h.Address, why)
		for _, d := range h.Decisions {
			fmt.Fprintf(table, "  %s\t%.1f → %.1f\t%s\tp75 %s\ttarget %s\t%d samples, %d overdue\n",
				d.At.UTC().Format("15:04:05.000"), d.From, d.To, d.Reason, ms(d.Latency), ms(d.Target), d.Samples, d.Overdue)
		}
		table.Flush()
	}
	_, err := io.WriteString(to, out.String())
	return err
}

// debt is a line of one replica.
func debt(d cassandra.DebtPressure) string {
	who := strings.TrimSpace(d.Rack + " " + d.Address)
	if who == "" {
		who = d.ID
	}
	text := fmt.Sprintf("%s: %.1f MiB owed, ", who, float64(d.Owed)/(1<<20))
	switch {
	case d.Absent && d.RefusedIn > 0:
		text += fmt.Sprintf("absent since %s, hints are refused in %s", d.Since.UTC().Format(time.TimeOnly), age(d.RefusedIn))
	case d.Absent:
		text += fmt.Sprintf("absent since %s, hints are refused", d.Since.UTC().Format(time.TimeOnly))
	default:
		text += fmt.Sprintf("back since %s, whole in about %s", d.Since.UTC().Format(time.TimeOnly), age(d.HealedIn))
	}
	if !d.From.IsZero() {
		text += fmt.Sprintf("; needs a repair for %s to %s", d.From.UTC().Format(time.RFC3339), d.Until.UTC().Format(time.RFC3339))
	}
	return text
}

// rate is what a host acknowledges; in quarantine nobody counts.
func rate(h cassandra.HostPressure) string {
	if h.Why != "" {
		return "-"
	}
	return fmt.Sprintf("%.0f/s", h.Rate)
}

func ms(d cassandra.Seconds) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", time.Duration(d).Seconds()*1e3)
}

func age(d cassandra.Seconds) string { return time.Duration(d).Round(time.Second).String() }
