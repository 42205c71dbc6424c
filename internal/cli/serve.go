package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
)

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", config.DefaultPath, "configuration file")
}

func newServe(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Run the concentrator", Args: args(cobra.NoArgs)}
	var path string
	configFlag(cmd, &path)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		load := func() (*config.Config, error) {
			cfg, err := config.Load(path)
			if err == nil && cmd.Flags().Changed("socket") {
				cfg.Control.Socket = g.socket
			}
			return cfg, err
		}
		cfg, err := load()
		if err != nil {
			return err
		}
		log, level, err := NewLogger(cfg.Log, g.env.Err)
		if err != nil {
			return err
		}
		for _, w := range cfg.Warnings {
			log.Warn("configuration: " + w)
		}
		err = g.env.Serve(cmd.Context(), Service{Config: cfg, Load: load, Log: log, SetLevel: func(name string) {
			if parsed, err := zapcore.ParseLevel(name); err == nil { // else it would not have been loaded
				level.SetLevel(parsed)
			}
		}})
		_ = log.Sync() // fails on terminals and pipes, which need none
		return err
	}
	return cmd
}

func newCheck(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "check", Short: "Check a configuration file", Args: args(cobra.NoArgs)}
	var path string
	configFlag(cmd, &path)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := config.Load(path)
		if err != nil {
			return err
		}
		for _, w := range cfg.Warnings {
			fmt.Fprintf(g.env.Err, "warning: %s\n", w)
		}
		lines, err := g.env.Describe(cfg)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Fprintf(g.env.Out, "%s: configuration is valid\n", path)
		for _, line := range lines {
			fmt.Fprintln(g.env.Out, line)
		}
		return nil
	}
	return cmd
}

func newDoctor(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "doctor", Short: "Check that this machine can run the concentrator", Args: args(cobra.NoArgs)}
	var path string
	configFlag(cmd, &path)
	o := outputFlags(g, cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(reflect.TypeFor[doctor.Finding]()); err != nil {
			return err
		}
		cfg, err := config.Load(path)
		if errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config") {
			cfg, err = nil, nil // the defaults will do
		}
		if err != nil {
			return err
		}
		findings := g.env.Doctor(cmd.Context(), cfg)
		if err := printList(o, noun{"check", "checks"}, findings); err != nil {
			return err
		}
		for _, f := range findings {
			if f.Status == doctor.Fail {
				return errQuiet
			}
		}
		return nil
	}
	return cmd
}

// NewLogger returns the daemon's logger, and its level, which can be set. It bounds how much events of one kind write (limiter).
func NewLogger(c config.Log, w io.Writer) (*zap.Logger, zap.AtomicLevel, error) {
	level, err := zap.ParseAtomicLevel(c.Level)
	if err != nil {
		return nil, level, fmt.Errorf("log level: %w", err)
	}
	ec := zap.NewProductionEncoderConfig()
	ec.TimeKey, ec.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	ec.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(ec)
	if c.Format == "console" {
		ec.EncodeTime, ec.EncodeLevel = zapcore.ISO8601TimeEncoder, zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(ec)
	}
	return zap.New(newLimiter(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))), level, nil
}
