package concentrator

import (
	"bytes"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
)

// dies reports that the daemon is dead and what it asks for does not happen. Operations before that happen, also when it does not hear
// of them.
func (m *machine) dies() bool {
	if m.doom.Load() > 0 && m.doom.Add(-1) == 0 {
		m.crashed.Store(true)
	}
	return m.crashed.Load()
}

// Store implements Store.
func (m *machine) Store(changes []Change) error {
	if m.dies() {
		return errFault
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ch := range changes {
		if ch.Value == nil {
			delete(m.kept, ch.Key)
		} else {
			m.kept[ch.Key] = bytes.Clone(ch.Value)
		}
	}
	return nil
}

// keep writes down what the RADIUS server knows of a session. The caller holds mu.
func (m *machine) keep(info aaa.SessionInfo) {
	b, err := encodeRecord(loginRecord{recordVersion, info})
	if err != nil {
		m.t.Error(err)
	}
	if _, open := m.logins[info.NASID]; open {
		m.kept[loginKey(info.NASID)] = b
	}
}

// Adopt implements AAA.
func (m *machine) Adopt(info aaa.SessionInfo) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, open := m.logins[info.NASID]; open {
		m.t.Errorf("login %+v is adopted twice", info)
	}
	m.logins[info.NASID] = info.Session
	return nil
}

// estate is what a dead daemon has left; another may begin.
func (m *machine) estate() Estate {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	e := Estate{Records: make(map[string][]byte), Sockets: make(map[uint16]ClientSocket), Processes: make(map[string]PPPProcess)}
	for key, value := range m.kept {
		e.Records[key] = value
	}
	for port, s := range m.sockets {
		e.Sockets[port] = s
	}
	for id, s := range m.sessions {
		if s.open {
			e.Sessions = append(e.Sessions, [2]uint16{uint16(id[0]), uint16(id[1])})
		}
	}
	for iface, p := range m.processes {
		e.Processes[iface] = p
	}
	for iface, p := range m.exits {
		e.Processes[iface] = p
	}
	clear(m.logins)
	m.crashed.Store(false)
	m.doom.Store(0)
	return e
}
