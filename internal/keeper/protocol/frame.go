package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	headerSize = 8
	// frameSize is the most octets of a frame: well below the smallest buffer of a socket, and no large piece of memory for the kernel.
	frameSize = 32 << 10
	// filesPerFrame is SCM_MAX_FD.
	filesPerFrame = 253
	// sendBuffer, in octets, is for many small messages in a row. Best effort: wmem_max may be lower.
	sendBuffer = 1 << 20

	// restWait is how long the rest of a message may take when the reading is interrupted.
	restWait = 5 * time.Second

	flagMore   = 1 // more frames of this message follow
	flagFailed = 2
)

// Bounds of messages.
const (
	MaxRequest = 4 << 20 // octets
	MaxReply   = 1 << 30 // octets: an inventory has everything
	// MaxRequestFiles is one.
	MaxRequestFiles = 1
	MaxReplyFiles   = 1 << 18
)

// Kind is what a message is.
type Kind uint8

// The kinds.
const (
	Request Kind = 1
	Reply   Kind = 2
	Event   Kind = 3
)

// Message is one thing that is said.
type Message struct {
	Kind   Kind
	Failed bool // the body of a reply is an [Error]
	Op     Op
	ID     uint32 // of the request; 0 in events, and in requests that want no reply
	Body   []byte
	Files  []*os.File
}

// Close closes the files.
func (m *Message) Close() {
	for _, f := range m.Files {
		_ = f.Close()
	}
	m.Files = nil
}

// ErrMalformed says that the other side does not keep to the protocol.
var ErrMalformed = errors.New("malformed message")

// Transport carries messages over a connected socket.
type Transport struct {
	conn      *net.UnixConn
	maxOctets int
	maxFiles  int
	restWait  time.Duration

	writing sync.Mutex
	in, oob []byte

	// reading guards what follows, and changes of the reading's deadline, so that both always fit together.
	reading       sync.Mutex
	interrupted   bool
	interruptions uint64 // so far
}

// NewTransport takes over a socket of type SOCK_SEQPACKET. Messages beyond the bounds are not read.
func NewTransport(conn *net.UnixConn, maxOctets, maxFiles int) *Transport {
	_ = conn.SetWriteBuffer(sendBuffer)
	return &Transport{
		conn: conn, maxOctets: maxOctets, maxFiles: maxFiles, restWait: restWait,
		in: make([]byte, frameSize), oob: make([]byte, unix.CmsgSpace(4*filesPerFrame)),
	}
}

// Conn is the socket.
func (t *Transport) Conn() *net.UnixConn { return t.conn }

// Close closes the socket. What was written arrives.
func (t *Transport) Close() error { return t.conn.Close() }

// Write sends a message whole, and returns when the kernel has it. The files stay the caller's. It may be called concurrently.
func (t *Transport) Write(m Message) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	body, files := m.Body, m.Files
	frame := make([]byte, headerSize, min(frameSize, headerSize+len(body)))
	for {
		part, some := body[:min(len(body), frameSize-headerSize)], files[:min(len(files), filesPerFrame)]
		body, files = body[len(part):], files[len(some):]
		more := len(body)+len(files) > 0
		frame[0], frame[1] = byte(m.Kind), 0
		if more {
			frame[1] |= flagMore
		}
		if m.Failed {
			frame[1] |= flagFailed
		}
		binary.BigEndian.PutUint16(frame[2:], uint16(m.Op))
		binary.BigEndian.PutUint32(frame[4:], m.ID)
		if err := t.writeFrame(append(frame[:headerSize], part...), some); err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

func (t *Transport) writeFrame(frame []byte, files []*os.File) error {
	fds, closeAll, err := copies(files)
	if err != nil {
		return err
	}
	defer closeAll()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err = t.conn.WriteMsgUnix(frame, oob, nil)
	return err
}

// copies are descriptors of the files of our own, so that none is closed, and its number used for something else, while it is sent.
func copies(files []*os.File) (fds []int, closeAll func(), err error) {
	closeAll = func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
	for _, f := range files {
		fd, err := Duplicate(f)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		fds = append(fds, fd)
	}
	return fds, closeAll, nil
}

// Duplicate returns a descriptor of the same open file as f's, closed on exec.
func Duplicate(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("copy descriptor of %s: %w", f.Name(), err)
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, fmt.Errorf("copy descriptor of %s: %w", f.Name(), os.ErrClosed) // the only cause, but without a name of its own
	}
	if dupErr != nil {
		return -1, fmt.Errorf("copy descriptor of %s (is the limit of open files too low?): %w", f.Name(), dupErr)
	}
	return fd, nil
}

// ErrInterrupted is what Read returns after Interrupt.
var ErrInterrupted = errors.New("the reading of messages was interrupted")

// Interrupt ends the reading between two messages, and never within one: what was not read yet stays in the socket.
func (t *Transport) Interrupt() {
	t.reading.Lock()
	defer t.reading.Unlock()
	t.interrupted = true
	t.interruptions++
	_ = t.conn.SetReadDeadline(time.Unix(1, 0))
}

// Resume is the end of Interrupt. Read may not have noticed that, and goes on then.
func (t *Transport) Resume() {
	t.reading.Lock()
	defer t.reading.Unlock()
	t.interrupted = false
	_ = t.conn.SetReadDeadline(time.Time{})
}

func (t *Transport) interruption() (now bool, soFar uint64) {
	t.reading.Lock()
	defer t.reading.Unlock()
	return t.interrupted, t.interruptions
}

// goOn says whether the reading goes on after a deadline, within a message until rest at most, which it sets: who sends without an end
// has to have one. seen is how many interruptions there were when the reading of the frame began.
func (t *Transport) goOn(first bool, seen uint64, rest *time.Time) bool {
	t.reading.Lock()
	defer t.reading.Unlock()
	switch now := time.Now(); {
	case !t.interrupted:
		return t.interruptions != seen // and otherwise the deadline is none of ours
	case first:
		return true
	case rest.IsZero():
		*rest = now.Add(t.restWait)
	case !now.Before(*rest):
		return false
	}
	return t.conn.SetReadDeadline(*rest) == nil
}

// Read waits for a message. It is io.EOF when the other side has closed the connection, and all that it had written before was read. It is for one
// goroutine.
func (t *Transport) Read() (m Message, err error) {
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	var rest time.Time // when all of it has to be there, once the reading was interrupted
	for first := true; ; {
		interrupted, seen := t.interruption()
		if first && interrupted {
			return m, ErrInterrupted
		}
		frame, files, err := t.readFrame()
		m.Files = append(m.Files, files...)
		if errors.Is(err, os.ErrDeadlineExceeded) && t.goOn(first, seen, &rest) {
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) && !first {
				err = io.ErrUnexpectedEOF
			}
			return m, err
		}
		head := Message{Kind: Kind(frame[0]), Failed: frame[1]&flagFailed != 0, Op: Op(binary.BigEndian.Uint16(frame[2:])), ID: binary.BigEndian.Uint32(frame[4:])}
		switch {
		case first:
			m.Kind, m.Failed, m.Op, m.ID = head.Kind, head.Failed, head.Op, head.ID
		case m.Kind != head.Kind || m.Failed != head.Failed || m.Op != head.Op || m.ID != head.ID:
			return m, fmt.Errorf("%w: a message within another", ErrMalformed)
		}
		m.Body = append(m.Body, frame[headerSize:]...)
		if len(m.Body) > t.maxOctets || len(m.Files) > t.maxFiles {
			return m, fmt.Errorf("%w: %d octets and %d files are too much", ErrMalformed, len(m.Body), len(m.Files))
		}
		if frame[1]&flagMore == 0 {
			return m, nil
		}
		first = false
	}
}

// readFrame returns a frame, which is valid until the next one is read, and its files, also with an error.
func (t *Transport) readFrame() ([]byte, []*os.File, error) {
	n, oobn, flags, _, err := t.conn.ReadMsgUnix(t.in, t.oob)
	if errors.Is(err, unix.ECONNRESET) {
		// The other side has closed the connection without having read everything. The kernel says so first, and then gives what it had written.
		n, oobn, flags, _, err = t.conn.ReadMsgUnix(t.in, t.oob)
	}
	files, rightsErr := received(t.oob[:oobn])
	switch {
	case err != nil:
		return nil, files, err
	case rightsErr != nil:
		return nil, files, rightsErr
	case flags&unix.MSG_CTRUNC != 0:
		return nil, files, errors.New("files were lost on their way: is the limit of open files too low?")
	case n < headerSize || flags&unix.MSG_TRUNC != 0:
		return nil, files, fmt.Errorf("%w: a frame of %d octets", ErrMalformed, n)
	}
	return t.in[:n], files, nil
}

// received are the files of a control message.
func received(oob []byte) (files []*os.File, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: control data: %v", ErrMalformed, err)
	}
	for i := range messages {
		if messages[i].Header.Level != unix.SOL_SOCKET || messages[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, fmt.Errorf("%w: control data: %v", ErrMalformed, err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}
