package zones

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Count is how many zones there are.
const Count = 3

// The two bridges.
const (
	clients = "clients"
	ring    = "ring"
)

// names of the zones' namespaces.
var names = [Count]string{"az-a", "az-b", "az-c"}

// The host's own number on the clients' bridge.
const here = 254

func clientAddr(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 1, last}) }
func ringAddr(last byte) netip.Addr   { return netip.AddrFrom4([4]byte{10, 77, 2, last}) }

// Check says in a sentence what this machine lacks, or returns nil.
func Check() error {
	if runtime.GOOS != "linux" {
		return errors.New("zones are network namespaces, which only Linux has")
	}
	if os.Geteuid() != 0 {
		return errors.New("zones are network namespaces, which only root can make: run it as root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("zones are linked by ip of iproute2, which is not here: apt-get install iproute2")
	}
	if _, err := os.Stat(tunDevice); err != nil {
		return fmt.Errorf("slow links lead through a tun device, which this kernel does not have: modprobe tun: %w", err)
	}
	return nil
}

// Network is the zones and what joins them.
type Network struct {
	delayed [Count]*delay
}

// Build makes the zones. The process must have been started by way of [Isolate]; it is refused where it could touch the machine's network.
func Build(ctx context.Context) (*Network, error) {
	if err := isolated(); err != nil {
		return nil, fmt.Errorf("build zones: %w", err)
	}
	commands := []string{
		"link set lo up",
		"link add " + clients + " type bridge",
		"link add " + ring + " type bridge",
		fmt.Sprintf("addr add %s/24 dev %s", clientAddr(here), clients),
		"link set " + clients + " up",
		"link set " + ring + " up",
	}
	for i := range Count {
		commands = append(commands, zone(i)...)
	}
	for _, c := range commands {
		if err := ip(ctx, c); err != nil {
			return nil, fmt.Errorf("build zones: %w", err)
		}
	}
	return &Network{}, nil
}

// zone is how zone i is made.
func zone(i int) []string {
	ns, last := names[i], byte(i+1)
	commands := []string{"netns add " + ns, "-n " + ns + " link set lo up"}
	for bridge, addr := range map[string]netip.Addr{clients: clientAddr(last), ring: ringAddr(last)} {
		port := port(bridge, i)
		commands = append(commands,
			fmt.Sprintf("link add %s type veth peer name %s address %s netns %s", port, bridge, hardware(addr), ns),
			fmt.Sprintf("link set %s master %s up", port, bridge),
			fmt.Sprintf("-n %s addr add %s/24 dev %s", ns, addr, bridge),
			fmt.Sprintf("-n %s link set %s up", ns, bridge),
		)
	}
	// Nodes know each other's hardware addresses for good: one that is cut off hears nothing at all, where ARP would tell it
	// after a second that there is no route.
	for other := range Count {
		if addr := ringAddr(byte(other + 1)); other != i {
			commands = append(commands, fmt.Sprintf("-n %s neigh replace %s lladdr %s dev %s nud permanent", ns, addr, hardware(addr), ring))
		}
	}
	return commands
}

// port is the end of a zone's link that is on the bridge.
func port(bridge string, i int) string { return fmt.Sprintf("%s-%d", bridge, i+1) }

// hardware is the hardware address of the link with that address.
func hardware(addr netip.Addr) string {
	b := addr.As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// Clients is where clients reach the node in zone i.
func (n *Network) Clients(i int) netip.Addr { return clientAddr(byte(i + 1)) }

// Ring is where the other nodes reach the node in zone i.
func (n *Network) Ring(i int) netip.Addr { return ringAddr(byte(i + 1)) }

// Enter is what runs the command behind it in zone i, in the same process.
func (n *Network) Enter(i int) []string { return []string{"ip", "netns", "exec", names[i]} }

// Cut parts zone i from the other two, in both directions and without a word to either side. Clients still reach it.
func (n *Network) Cut(ctx context.Context, i int) error {
	return ip(ctx, "link set "+port(ring, i)+" nomaster")
}

// Heal undoes Cut.
func (n *Network) Heal(ctx context.Context, i int) error {
	return ip(ctx, "link set "+port(ring, i)+" master "+ring)
}

func ip(ctx context.Context, command string) error {
	out, err := exec.CommandContext(ctx, "ip", strings.Fields(command)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", command, err, strings.TrimSpace(string(out)))
	}
	return nil
}
