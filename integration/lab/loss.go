package lab

import (
	"context"
	"fmt"
)

// Lose has a part of what leaves the namespace by a device get lost, in percent, until LoseNothing.
func (n *Namespace) Lose(device string, percent int) error {
	_, err := n.Run(context.Background(), "tc", "qdisc", "replace", "dev", device, "root", "netem", "loss", fmt.Sprintf("%d%%", percent))
	return err
}

// LoseNothing is the end of Lose.
func (n *Namespace) LoseNothing(device string) error {
	_, err := n.Run(context.Background(), "tc", "qdisc", "delete", "dev", device, "root")
	return err
}
