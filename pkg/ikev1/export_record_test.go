package ikev1

// States returns what the records of all clients have to say now.
func States(e *Engine) map[ClientID][]byte {
	m := make(map[ClientID][]byte, len(e.clients))
	for id, c := range e.clients {
		m[id] = c.state()
	}
	return m
}

// Written reads a record for failures.
func Written(state []byte) (r any) {
	var written clientRecord
	if err := recordReader.Unmarshal(state, &written); err != nil {
		return err
	}
	return written
}

// Records says whether an engine writes records.
func Records(e *Engine) bool { return e.cfg.Records }
