package pressure

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// line is a run as it is drawn.
type line struct {
	law         string
	points      []point
	fault, over time.Duration
	end         time.Duration
}

type point struct {
	at                  time.Duration
	goodput, p99, limit float64
}

// pointsOfALine are so few that a picture stays small.
const pointsOfALine = 120

func lineOf(r run) line {
	step := max(5*slotLength, (r.end / pointsOfALine).Truncate(5*slotLength))
	l := line{fault: r.fault, over: r.over, end: r.end}
	for at := time.Duration(0); at+step <= r.end; at += step {
		s := r.client.span(at, at+step)
		l.points = append(l.points, point{at + step/2, s.goodput, s.p99, s.limit / nodes})
	}
	return l
}

// Where things are in a picture, in pixels.
const (
	wide        = 960
	left        = 70
	right       = 16
	top         = 92
	high        = 170
	gap         = 34
	panels      = 3
	pictureHigh = top + panels*(high+gap)
)

// strokes are the colours of the laws: distinct ones for laws and dashes for the scope of the cluster.
var strokes = []struct{ law, colour string }{
	{"the law", "#c0160f"}, {"best fixed", "#555555"}, {"Gradient2", "#1764ab"}, {"failsafe-go", "#1b7f3b"}, {"AIMD", "#b8860b"},
}

func stroke(law string) string {
	style := `stroke="#000"`
	for _, s := range strokes {
		if strings.HasPrefix(law, s.law) {
			style = fmt.Sprintf(`stroke="%s"`, s.colour)
		}
	}
	switch {
	case law == theLaw.name:
		return style + ` stroke-width="2.6"`
	case strings.HasSuffix(law, "cluster"):
		return style + ` stroke-width="1.2" stroke-dasharray="5 3"`
	}
	return style + ` stroke-width="1.3"`
}

// panel is one diagram of a picture.
type panel struct {
	title      string
	of         func(point) float64
	low, most  float64
	logarithms bool
	marks      []float64
}

func (p panel) y(v float64, from int) float64 {
	part := (v - p.low) / (p.most - p.low)
	if p.logarithms {
		part = math.Log(max(v, p.low)/p.low) / math.Log(p.most/p.low)
	}
	return float64(from+high) - high*min(1, max(0, part))
}

// picture draws a scenario with the lines of all laws, the law itself last and above the others.
func picture(s scenario, lines []line) string {
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(drawnLast(a), drawnLast(b)), cmp.Compare(a.law, b.law))
	})
	most := 0.0
	for _, l := range lines {
		for _, p := range l.points {
			most = max(most, p.goodput)
		}
	}
	step := math.Pow(10, math.Floor(math.Log10(max(1, most))))
	if most/step < 3 {
		step /= 2
	}
	var marks []float64
	for v := 0.0; v <= most*1.05; v += step {
		marks = append(marks, v)
	}
	b := &strings.Builder{}
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", wide, pictureHigh)
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", wide, pictureHigh)
	fmt.Fprintf(b, `<text x="%d" y="24" font-size="17" font-weight="bold">%s</text><text x="%d" y="42">%s</text>`+"\n", left, s.name, left, s.what)
	for i, l := range slices.Backward(lines) {
		at := len(lines) - 1 - i
		x, y := left+(at%5)*176, 62+(at/5)*18
		fmt.Fprintf(b, `<path d="M%d %dh24" %s fill="none"/><text x="%d" y="%d">%s</text>`+"\n", x, y-4, stroke(l.law), x+29, y, l.law)
	}
	for i, p := range []panel{
		{"writes acknowledged a second", func(p point) float64 { return p.goodput }, 0, most * 1.05, false, marks},
		{"99th percentile of all attempts, ms", func(p point) float64 { return p.p99 }, 1, 10_000, true, []float64{1, 10, 100, 1000, 10_000}},
		{"limit of a host, attempts in flight", func(p point) float64 { return p.limit }, 0.3, 4096, true, []float64{1, 10, 100, 1000}},
	} {
		p.draw(b, lines, top+i*(high+gap)+18)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func drawnLast(l line) int {
	if l.law == theLaw.name {
		return 1
	}
	return 0
}

func (p panel) draw(b *strings.Builder, lines []line, from int) {
	if len(lines) == 0 {
		return
	}
	l := lines[0]
	x := func(at time.Duration) float64 { return left + (wide-left-right)*float64(at)/float64(l.end) }
	fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#f6e9d8"/>`+"\n", x(l.fault), from, x(l.over)-x(l.fault), high)
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", left, from-5, p.title)
	for _, m := range p.marks {
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n", left, p.y(m, from), wide-right, left-6, p.y(m, from)+4, m)
	}
	every := 10 * time.Second
	if l.end > 3*time.Minute {
		every = time.Minute
	}
	for at := time.Duration(0); at <= l.end; at += every {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%g s</text>`+"\n", x(at), from+high+14, at.Seconds())
	}
	for _, l := range lines {
		fmt.Fprintf(b, `<path fill="none" stroke-linejoin="round" %s d="`, stroke(l.law))
		for i, point := range l.points {
			command := "L"
			if i == 0 {
				command = "M"
			}
			fmt.Fprintf(b, "%s%.1f %.1f", command, x(point.at), p.y(p.of(point), from))
		}
		b.WriteString("\"/>\n")
	}
}
