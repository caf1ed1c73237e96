package zones

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	tunDevice = "/dev/net/tun"
	// The most packets on their way through a slow link, about 4 MiB; what comes on top is dropped, as on any link.
	delayQueue = 4096
	packetSize = 64 << 10
)

// delay leads packets to one zone through this process.
type delay struct {
	in    io.ReadCloser  // the packets that clients send
	out   io.WriteCloser // to the zone
	least time.Duration
	span  time.Duration
	moved sync.WaitGroup
	stop  chan struct{}
}

// packet is one on its way.
type packet struct {
	due  time.Time
	data []byte
}

// Delay slows what clients send to zone i by mean ± jitter, each packet by another time, without changing their order. A round trip
// takes that much longer. Connections go on.
func (n *Network) Delay(ctx context.Context, i int, mean, jitter time.Duration) error {
	if n.delayed[i] != nil {
		return fmt.Errorf("delay %s: it is delayed", names[i])
	}
	device := fmt.Sprintf("slow-%d", i+1)
	in, err := openTun(device)
	if err != nil {
		return fmt.Errorf("delay %s: %w", names[i], err)
	}
	out, err := openLink(clients)
	if err != nil {
		return errors.Join(fmt.Errorf("delay %s: %w", names[i], err), in.Close())
	}
	d := &delay{in: in, out: out, least: mean - jitter, span: 2 * jitter, stop: make(chan struct{})}
	d.run()
	n.delayed[i] = d
	for _, command := range []string{
		"link set " + device + " up",
		fmt.Sprintf("route add %s/32 dev %s src %s", n.Clients(i), device, clientAddr(here)),
	} {
		if err := ip(ctx, command); err != nil {
			return errors.Join(fmt.Errorf("delay %s: %w", names[i], err), n.Hasten(i))
		}
	}
	return nil
}

// Hasten undoes Delay. What is on its way is lost, and sent again by TCP.
func (n *Network) Hasten(i int) error {
	d := n.delayed[i]
	if d == nil {
		return fmt.Errorf("hasten %s: it is not delayed", names[i])
	}
	n.delayed[i] = nil
	close(d.stop)
	// The device ends with its file, and the route with the device.
	err := d.in.Close()
	d.moved.Wait()
	return errors.Join(err, d.out.Close())
}

// run moves packets by two goroutines, which end with Hasten.
func (d *delay) run() {
	queue := make(chan packet, delayQueue)
	d.moved.Go(func() {
		buffer := make([]byte, packetSize)
		var last time.Time
		for {
			n, err := d.in.Read(buffer)
			if err != nil {
				return
			}
			due := time.Now().Add(d.least + rand.N(d.span+1))
			if due.Before(last) {
				due = last
			}
			last = due
			select {
			case queue <- packet{due, append([]byte(nil), buffer[:n]...)}:
			default:
			}
		}
	})
	d.moved.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-d.stop:
				return
			case p := <-queue:
				timer.Reset(time.Until(p.due))
				select {
				case <-timer.C:
				case <-d.stop:
					return
				}
				_, _ = d.out.Write(p.data) // lost, as on any link
			}
		}
	})
}
