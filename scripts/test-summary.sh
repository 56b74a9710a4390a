#!/usr/bin/env bash
# The last line of `make test`. gotestsum runs it after its own summary, which lists failures and
# skips with their reasons, and hands over the counts in the environment. A package that does not
# build counts as a failure.
set -euo pipefail

passed=$((TESTS_TOTAL - TESTS_FAILED - TESTS_SKIPPED))
failed=$((TESTS_FAILED + TESTS_ERRORS))
echo "${passed} passed, ${failed} failed, ${TESTS_SKIPPED} skipped"
if [ -n "${TEST_COUNTS:-}" ]; then
  echo "${passed} ${failed} ${TESTS_SKIPPED}" >>"$TEST_COUNTS" # .ci/run adds them up
fi
