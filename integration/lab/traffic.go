package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// Pings is what a run of ping came to.
type Pings struct{ Sent, Received int }

// Lost is how many answers are missing.
func (p Pings) Lost() int { return p.Sent - p.Received }

var pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) (?:packets )?received`)

func parsePings(text string) (Pings, error) {
	match := pingSummary.FindStringSubmatch(text)
	if match == nil {
		return Pings{}, fmt.Errorf("ping printed no summary: %s", lastLines(text, 5))
	}
	sent, errSent := strconv.Atoi(match[1])
	received, errReceived := strconv.Atoi(match[2])
	return Pings{sent, received}, errors.Join(errSent, errReceived)
}

// Ping sends count echo requests, 50 ms apart, and waits for the answers, 10 s at most: on a busy machine they may be late. That none comes is not an error. Options are ping's own.
func (n *Namespace) Ping(ctx context.Context, to netip.Addr, count int, options ...string) (Pings, error) {
	args := append([]string{"ping", "-n", "-q", "-i", "0.05", "-W", "10", "-c", strconv.Itoa(count)}, options...)
	out, err := n.Run(ctx, append(args, to.String())...)
	pings, parseErr := parsePings(out)
	if parseErr != nil {
		return pings, errors.Join(err, parseErr)
	}
	return pings, nil
}

// PingStream is a ping that runs until it is stopped.
type PingStream struct{ process *Process }

// PingContinuously starts a ping that sends so many echo requests each second. Options are ping's own.
func (n *Namespace) PingContinuously(to netip.Addr, rate int, options ...string) (*PingStream, error) {
	log := fmt.Sprintf("ping-%s-%s.log", n.Name, to)
	args := append([]string{"ping", "-n", "-O", "-i", fmt.Sprint(1 / float64(rate))}, options...)
	process, err := n.lab.start(n.Command(context.Background(), append(args, to.String())...), log)
	if err != nil {
		return nil, err
	}
	return &PingStream{process}, Until(context.Background(), 10*time.Second, n.Name+": first answer to ping", func() error {
		return process.says("bytes from")
	})
}

// Stop ends the stream. The last request may be on its way still: one that is without an answer at the end does not count.
func (s *PingStream) Stop() (Pings, error) {
	var status *exec.ExitError // ping's own: 1 when answers are missing, which the caller counts
	if err := s.process.Signal(syscall.SIGINT, 10*time.Second); err != nil && !errors.As(err, &status) {
		return Pings{}, err
	}
	text := after(s.process.Log, s.process.from)
	pings, err := parsePings(text)
	if err != nil {
		return pings, err
	}
	sequences := pingSequence.FindAllStringSubmatch(text, -1)
	if len(sequences) > 0 {
		if last, err := strconv.Atoi(sequences[len(sequences)-1][1]); err == nil && pings.Sent == last+1 {
			pings.Sent = last
		}
	}
	return pings, nil
}

var pingSequence = regexp.MustCompile(`bytes from .*icmp_seq=(\d+)`)

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
	err = Until(ctx, 20*time.Second, "iperf3 listens", func() error { return server.says("Server listening") })
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
