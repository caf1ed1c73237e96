package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// middle measures a run from one twentieth of its rows to the last but one twentieth: without start and tail.
type middle struct {
	pid         int
	first, last int

	mu       sync.Mutex
	from, to mark
}

type mark struct {
	rows int
	at   time.Time
	cpu  time.Duration
}

func newMiddle(total, pid int) *middle {
	m := &middle{pid: pid, first: total / 20, last: total - total/20}
	if total == 0 {
		m.from = m.mark(0)
	}
	return m
}

func (m *middle) mark(rows int) mark {
	cpu, err := processCPU(m.pid)
	if err != nil {
		return mark{}
	}
	return mark{rows, time.Now(), cpu}
}

// at notes that so many rows are done.
func (m *middle) at(rows int) {
	if rows < m.first {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.from.at.IsZero() {
		m.from = m.mark(rows)
	}
	if m.to.at.IsZero() && m.last > 0 && rows >= m.last {
		m.to = m.mark(rows)
	}
}

// end returns the figures of the run, which may have ended early.
func (m *middle) end(rows int) figures {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.to.at.IsZero() {
		m.to = m.mark(rows)
	}
	return figures{
		Rows:    float64(m.to.rows - m.from.rows),
		Seconds: m.to.at.Sub(m.from.at).Seconds(),
		CPU:     (m.to.cpu - m.from.cpu).Seconds(),
	}
}

// processCPU returns the processor time of a process, user and system, to a hundredth of a second.
func processCPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it, in ticks of a
	// hundredth of a second (proc(5), USER_HZ).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("read the process's statistics: fields are missing")
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// peakMemory returns the largest resident set a process ever had, in bytes.
func peakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("read the process's status: no VmHWM")
}
