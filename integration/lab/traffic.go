package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Throughput is what an iperf3 run came to.
type Throughput struct {
	Bytes         uint64
	BitsPerSecond float64
}

// Iperf sends TCP from the namespace to an address of another for a time; reverse sends the other way.
func (n *Namespace) Iperf(ctx context.Context, to *Namespace, address netip.Addr, duration time.Duration, reverse bool) (Throughput, error) {
	port := strconv.Itoa(int(n.lab.tcpPort()))
	server, err := n.lab.start(to.Command(context.Background(), "iperf3", "--server", "--one-off", "--forceflush", "--bind", address.String(), "--port", port),
		fmt.Sprintf("iperf3-%s-%s.log", to.Name, port))
	if err != nil {
		return Throughput{}, err
	}
	defer server.Kill()
	err = Until(ctx, 60*time.Second, "iperf3 listens", func() error { return server.says("Server listening") })
	if err != nil {
		return Throughput{}, err
	}
	args := []string{"iperf3", "--json", "--client", address.String(), "--port", port, "--time", strconv.Itoa(int(duration.Seconds()))}
	if reverse {
		args = append(args, "--reverse")
	}
	out, err := n.Run(ctx, args...)
	var report struct {
		Error string
		End   struct {
			Received struct {
				Bytes         uint64
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if jsonErr := json.Unmarshal([]byte(out), &report); jsonErr != nil || report.Error != "" || err != nil {
		return Throughput{}, fmt.Errorf("iperf3 to %s: %s: %w", address, report.Error, errors.Join(err, jsonErr))
	}
	return Throughput(report.End.Received), nil
}

// transferLimit is for all that a Transfer takes. It is no measure of the way: TCP goes on over many a stall.
const transferLimit = time.Minute

// Transfer sends so many octets of TCP from the namespace to an address of another; reverse sends the other way. It returns when all have arrived.
func (n *Namespace) Transfer(ctx context.Context, to *Namespace, address netip.Addr, octets int64, reverse bool) error {
	ctx, cancel := context.WithTimeout(ctx, transferLimit*patience)
	defer cancel()
	var listener net.Listener
	err := to.Do(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(address, 0).String())
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: listen at %s: %w", to.Name, address, err)
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	defer listener.Close()
	var near net.Conn
	err = n.Do(func() (err error) {
		near, err = new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: open a TCP connection to %s: %w", n.Name, address, err)
	}
	defer near.Close()
	far, err := listener.Accept()
	if err != nil {
		return fmt.Errorf("%s: take a TCP connection from %s: %w", to.Name, n.Name, err)
	}
	defer far.Close()
	source, sink := near, far
	if reverse {
		source, sink = far, near
	}
	end, _ := ctx.Deadline()
	if err := errors.Join(source.SetDeadline(end), sink.SetDeadline(end)); err != nil {
		return fmt.Errorf("%s: set a deadline for TCP: %w", n.Name, err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(source, zeros{}, octets)
		sent <- err
	}()
	arrived, err := io.CopyN(io.Discard, sink, octets)
	if err != nil {
		source.Close() // who sends need not go on
	}
	if err = errors.Join(err, <-sent); err != nil {
		return fmt.Errorf("TCP between %s and %s: %d of %d octets have arrived: %w", n.Name, address, arrived, octets, err)
	}
	return nil
}

// zeros is an endless source.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
