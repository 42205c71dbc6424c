package concentrator

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// succession has one of several things run at a time, in a group that outlives them.
type succession struct {
	ctx   context.Context
	group *errgroup.Group
	stop  context.CancelFunc // of the one that runs; nil: none
}

// next ends what runs and begins run, or nothing if that is nil. It may only be called while something else in the group runs, and
// not by two at a time.
func (s *succession) next(run func(context.Context) error) {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	if run == nil {
		return
	}
	ctx, stop := context.WithCancel(s.ctx)
	s.stop = stop
	s.group.Go(func() error { return run(ctx) })
}
