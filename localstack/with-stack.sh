#!/bin/sh
# with-stack.sh CMD [ARG]...: runs a command with a local stack of its own and its environment, ends the stack whatever happens, and exits
# as the command did. DEVSTACK_FLAGS holds flags for `devstack up`, separated by spaces. Kinesis has no quotas, since tests write at
# once what a shard takes in many seconds, unless the flags hold --no-quotas=false.
set -eu
if [ $# -eq 0 ]; then
	echo "usage: with-stack.sh CMD [ARG]..." >&2
	exit 2
fi
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
work=$(mktemp -d)

finish() {
	status=$?
	trap - EXIT INT TERM
	if [ -f "$work/env" ]; then
		"$work/devstack" down --env "$work/env" >&2 || [ $status -ne 0 ] || status=1
	fi
	rm -rf "$work"
	exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

(cd "$root" && go build -o "$work/devstack" ./cmd/devstack)
# --owner: the stack ends even when this script is killed and finishes nothing.
# shellcheck disable=SC2086
"$work/devstack" up --detach --no-quotas --owner $$ --env "$work/env" ${DEVSTACK_FLAGS-} >&2
# shellcheck disable=SC1091
. "$work/env"
"$@"
