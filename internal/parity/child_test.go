package parity

const childVariable = "CLICKLEDGER_TEST_STREAM_CHILD"

func runChild(string) int { return 2 }
