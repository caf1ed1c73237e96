#!/bin/sh
# tally.sh: the last line of a test run, for eyes and scripts. gotestsum runs it when all tests are over; the figures are in the
# environment it sets. A package that does not build is one failure without tests, so that `passed` is then low by one.
set -eu
passed=$((TESTS_TOTAL - TESTS_FAILED - TESTS_SKIPPED))
echo "$passed passed, $TESTS_FAILED failed, $TESTS_SKIPPED skipped"
