//go:build !linux

package embedpg

import "syscall"

// toolAttributes runs a short-lived tool as the owner of the data.
func toolAttributes(owner *identity) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if owner != nil {
		attributes.Credential = &syscall.Credential{Uid: owner.uid, Gid: owner.gid}
	}
	return attributes
}

// serverAttributes is toolAttributes: there is no parent-death signal outside Linux, so a server
// whose parent was killed must be stopped by hand (its pid stands in postmaster.pid).
func serverAttributes(owner *identity) *syscall.SysProcAttr { return toolAttributes(owner) }
