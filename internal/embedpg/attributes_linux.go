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

// serverAttributes runs the server as the owner of the data, in a process group of its own so that
// Ctrl-C on the terminal reaches only us (we stop the server last), and has the kernel ask for a
// fast shutdown when we die.
func serverAttributes(owner *identity) *syscall.SysProcAttr {
	attributes := toolAttributes(owner)
	attributes.Pdeathsig = syscall.SIGINT
	return attributes
}
