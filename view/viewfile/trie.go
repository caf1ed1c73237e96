package viewfile

import "slices"

// node is a place in an event that some path leads to or through. The paths of a whole file are one tree, so an event
// is read once, whatever its type, and wherever in it the type stands.
//
// Each node has a slot, which receives where its value stands in the record. Slots of one frame are numbered from 0: the
// event is a frame, and so is every element of an array that is gone through.
type node struct {
	name   string // of the member, unescaped
	parent *node
	slot   int
	kids   []*node
	lookup []int32 // kids by hash of their name, -1 for none
	items  *node   // what each element of the array here is
	size   int     // slots in a frame, of a node that begins one
	frame  *node   // the node that begins the frame this node is in
}

func newRoot() *node {
	root := &node{size: 1}
	root.frame = root
	return root
}

// child returns the node of a member, which it adds if there is none.
func (n *node) child(name string) *node {
	for _, kid := range n.kids {
		if kid.name == name {
			return kid
		}
	}
	kid := &node{name: name, parent: n, frame: n.frame, slot: n.frame.size}
	n.frame.size++
	n.kids = append(n.kids, kid)
	return kid
}

// elements returns the node of the array's elements, which it adds if there is none.
func (n *node) elements() *node {
	if n.items == nil {
		n.items = newRoot()
		n.items.parent = n
	}
	return n.items
}

// descend returns the node a pointer leads to from n.
func (n *node) descend(p *pointer) *node {
	for _, token := range p.tokens {
		n = n.child(token)
	}
	return n
}

// seal makes the tables that members are found by. No node is added afterwards.
func (n *node) seal() {
	if len(n.kids) > 0 {
		size := 8
		for size < 2*len(n.kids) {
			size *= 2
		}
		n.lookup = slices.Repeat([]int32{-1}, size)
		for i, kid := range n.kids {
			at := int(hashOf([]byte(kid.name))) & (size - 1)
			for n.lookup[at] >= 0 {
				at = (at + 1) & (size - 1)
			}
			n.lookup[at] = int32(i)
			kid.seal()
		}
	}
	if n.items != nil && n.items.lookup == nil {
		n.items.seal()
	}
}

// find returns the node of a member, nil if no path leads there.
func (n *node) find(name []byte, hash uint64) *node {
	mask := len(n.lookup) - 1
	for at := int(hash) & mask; n.lookup[at] >= 0; at = (at + 1) & mask {
		if kid := n.kids[n.lookup[at]]; kid.name == string(name) {
			return kid
		}
	}
	return nil
}
