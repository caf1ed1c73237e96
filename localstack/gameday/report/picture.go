package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Measures of a picture, in pixels.
const (
	width, height = 860, 470
	left, right   = 64, 16
	rowsTop       = 52
	panelHeight   = 170
	p99Top        = rowsTop + panelHeight + 46
	tick          = 15 // seconds between two marks, or a multiple of it
)

// Colours of the writers.
const (
	daemonColour = "#1b6ca8"
	naiveColour  = "#c8553d"
)

// picture shows rows a second and p99 over time, all runs of the daemon above each other, the last one strongest, with the fault shaded.
func picture(scenario int, daemon, naive []Result) string {
	p := newPlot(daemon, naive)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="15">%d: %s</text>`+"\n", left, scenario, html.EscapeString(Title(scenario)))
	legend(&b, len(naive) > 0)
	last := daemon[len(daemon)-1]
	for _, top := range []int{rowsTop, p99Top} {
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#f3e3b3"/>`+"\n", p.x(float64(last.From)), top, p.x(float64(last.To))-p.x(float64(last.From)), panelHeight)
	}
	p.axes(&b)
	for _, n := range naive {
		p.draw(&b, n, naiveColour, 1.2, 0.8)
	}
	for _, d := range daemon[:len(daemon)-1] {
		p.draw(&b, d, daemonColour, 1, 0.35)
	}
	p.draw(&b, last, daemonColour, 1.8, 1)
	b.WriteString("</svg>\n")
	return b.String()
}

func legend(b *strings.Builder, contrast bool) {
	entry := func(x int, colour, text string) {
		fmt.Fprintf(b, `<line x1="%d" y1="35" x2="%d" y2="35" stroke="%s" stroke-width="2"/><text x="%d" y="39">%s</text>`+"\n", x, x+22, colour, x+28, text)
	}
	entry(left, daemonColour, "the daemon, its last run strongest")
	if contrast {
		entry(left+270, naiveColour, "the naive writer")
	}
	fmt.Fprintf(b, `<rect x="%d" y="29" width="22" height="12" fill="#f3e3b3"/><text x="%d" y="39">the fault</text>`+"\n", left+430, left+458)
}

// plot knows what fits on the axes: seconds, rows a second from 0, and milliseconds by their logarithm.
type plot struct {
	seconds  float64
	rows     float64
	p99Least float64
	p99Most  float64
}

func newPlot(daemon, naive []Result) plot {
	p := plot{seconds: 10, rows: 1, p99Least: 1, p99Most: 100}
	for _, r := range append(append([]Result{}, daemon...), naive...) {
		p.seconds = max(p.seconds, float64(shown(r)))
		for _, v := range window(r.Rows, 0, shown(r)) {
			p.rows = max(p.rows, v)
		}
		for _, v := range window(r.P99, 0, shown(r)) {
			p.p99Most = max(p.p99Most, v)
		}
	}
	p.rows = niceCeiling(p.rows)
	p.p99Most = math.Pow(10, math.Ceil(math.Log10(p.p99Most)))
	return p
}

// shown is how many seconds of a run are drawn: until a little after the backlog was drained.
func shown(r Result) int {
	if r.Drained > 0 {
		return min(len(r.Rows), max(r.Drained, r.To)+5)
	}
	return len(r.Rows)
}

func (p plot) x(second float64) float64 {
	return left + (width-left-right)*second/p.seconds
}

func (p plot) rowsY(rows float64) float64 {
	return rowsTop + panelHeight*(1-rows/p.rows)
}

func (p plot) p99Y(ms float64) float64 {
	share := math.Log(max(ms, p.p99Least)/p.p99Least) / math.Log(p.p99Most/p.p99Least)
	return p99Top + panelHeight*(1-share)
}

func (p plot) axes(b *strings.Builder) {
	grid := func(y float64, text string) {
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, y, width-right, y, left-6, y+4, text)
	}
	for i := range 5 {
		rows := p.rows * float64(i) / 4
		grid(p.rowsY(rows), fmt.Sprintf("%.0f", rows))
	}
	for ms := p.p99Least; ms <= p.p99Most; ms *= 10 {
		grid(p.p99Y(ms), fmt.Sprintf("%.0f", ms))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d">rows a second</text>`+"\n", left+4, rowsTop+14)
	fmt.Fprintf(b, `<text x="%d" y="%d">p99 of attempts, ms</text>`+"\n", left+4, p99Top+14)
	for s := 0.0; s <= p.seconds; s += tick * math.Ceil(p.seconds/tick/12) {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", p.x(s), p99Top+panelHeight+16, s)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">seconds since the writer started</text>`+"\n", width-right, p99Top+panelHeight+32)
}

// draw adds both lines of a run. Seconds in which no attempt ended have no p99.
func (p plot) draw(b *strings.Builder, r Result, colour string, stroke, opacity float64) {
	line := func(points []string) {
		if len(points) > 1 {
			fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="%.1f" opacity="%.2f" points="%s"/>`+"\n", colour, stroke, opacity, strings.Join(points, " "))
		}
	}
	var rows, p99 []string
	for i, v := range window(r.Rows, 0, shown(r)) {
		rows = append(rows, fmt.Sprintf("%.1f,%.1f", p.x(float64(i)+0.5), p.rowsY(v)))
	}
	line(rows)
	for i, v := range window(r.P99, 0, shown(r)) {
		if v == 0 {
			line(p99)
			p99 = nil
			continue
		}
		p99 = append(p99, fmt.Sprintf("%.1f,%.1f", p.x(float64(i)+0.5), p.p99Y(v)))
	}
	line(p99)
}

// niceCeiling is the next number that reads well on an axis.
func niceCeiling(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8} {
		if v <= m*power {
			return m * power
		}
	}
	return 10 * power
}
