// Package zones is a network of three availability zones on one machine, for a Cassandra node in each.
//
// Each zone is a network namespace with two links: one to a bridge that joins the nodes, one to a bridge where the clients are. So a
// node can lose the others while clients still reach it, and the clients' link can be slow while the nodes hear each other well.
//
// All of it is in a network namespace and a mount namespace of the process that [Build] runs in, which [Isolate] starts: no address can
// clash with the machine's, no packet leaves it, there is nothing to clean up after a crash, and the kernel removes everything
// with the last process inside. It takes root, and ip of iproute2. The kernel needs veth, bridge and tun, and no packet filter: a link
// is cut by taking its end off the bridge, and delayed by leading it through this process.
package zones
