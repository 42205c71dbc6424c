// Package confine takes from the process that parses packets of strangers what it does not need.
//
// The program starts privileged (stage 1), does what needs privilege, and runs itself again without any (stage 2). Stage 2 knows
// itself by what it lacks, so there is no flag to forge or forget:
//
//	if !confine.Confined() {
//		// stage 1: open the control socket, find or start the keeper, give it what is to outlive us.
//		return confine.Drop(os.Args) // comes back only if it failed
//	}
//	// stage 2
//	if err := confine.Hide(); err != nil { // before the first key is in memory
//		return err
//	}
//	// connect to the keeper, open the sockets of the AF_UNIX family that are needed; then, before the first packet is read:
//	err := confine.Filter(confine.Rules{Read: []string{"/etc/l2tpctl"}, Require: required})
//	var missing *confine.Unsupported
//	if errors.As(err, &missing) {
//		log.Warn(missing.Error()) // the rest is in force
//	} else if err != nil {
//		return err
//	}
//
// What is left to the process is user ID 0 without capabilities: it may read what belongs to root or may be read by everybody,
// and, as far as the kernel has Landlock, nothing outside of the directories that it was given. It writes no files, runs no
// programs, signals nobody, and makes no connections to sockets in the file system, where many a daemon does what user ID 0 asks for.
package confine
