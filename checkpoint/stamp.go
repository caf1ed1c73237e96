package checkpoint

import (
	"fmt"
	"hash/fnv"
	"time"
)

// stampLayout is the canonical spelling of a timeout that needs all nine digits of the fraction.
const stampLayout = "2006-01-02T15:04:05.000000000Z"

// Timeout returns the text of a lease's end for the row: end to a tenth of a second, then five digits of nonce, then
// three digits that sign the owner and all before them. The last digit is never 0. So the text
//
//   - is different for every write, which makes the pair of owner and timeout a fencing token even for two processes
//     that were given one worker id;
//   - is what Go's RFC3339Nano makes of the same time, so vmware-go-kcl-v2, which compares such texts after parsing and
//     formatting them again, takes it for its own;
//   - tells our rows from those of other writers; see [Stamped].
//
// Only the low 17 bits or so of nonce matter: it is reduced modulo 100,000.
func Timeout(owner string, end time.Time, nonce uint32) string {
	tenth := end.UTC().Truncate(time.Second / 10).Format("2006-01-02T15:04:05.0")
	unsigned := fmt.Sprintf("%s%05d", tenth, nonce%100_000)
	return unsigned + signature(owner, unsigned) + "Z"
}

// Stamped reports whether a timeout was written by [Timeout] for this owner. Of the timeouts of other writers with
// nine digits one in a thousand passes by chance; as every renewal draws again, a living foreign owner never passes
// for long enough to matter.
func Stamped(owner, timeout string) bool {
	if len(timeout) != len(stampLayout) || timeout[len(timeout)-1] != 'Z' {
		return false
	}
	cut := len(timeout) - len("000Z")
	return timeout[cut:len(timeout)-1] == signature(owner, timeout[:cut])
}

// signature maps owner and text to one of the 900 groups of three digits that do not end in 0.
func signature(owner, unsigned string) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s\x00%s", owner, unsigned) // a hash never returns an error
	v := h.Sum32() % 900
	return fmt.Sprintf("%02d%d", v/9, v%9+1)
}
