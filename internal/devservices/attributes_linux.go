package devservices

import "syscall"

// hasUserAttributes says whether files in a directory can carry attributes of the user's.
func hasUserAttributes(dir string) bool {
	return syscall.Setxattr(dir, "user.clickledger", []byte("1"), 0) == nil
}
