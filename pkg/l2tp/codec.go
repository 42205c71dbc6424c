package l2tp

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// codec is the encoding of records.
type codec struct {
	encoding cbor.UserBufferEncMode
	decoding cbor.DecMode // of what this version writes; fields of a later program that this one may ignore are passed over
	anything cbor.DecMode // of what another version may have written
	buffer   *bytes.Buffer
}

// maxRecorded bounds the lists in a record; the longest are the budgets of a minute.
const maxRecorded = 10_001

func newCodec() (codec, error) {
	encoding, err := cbor.EncOptions{}.UserBufferEncMode()
	if err != nil {
		return codec{}, fmt.Errorf("l2tp: set up the encoding of records: %w", err)
	}
	options := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 8, MaxArrayElements: maxRecorded,
	}
	decoding, err := options.DecMode()
	if err != nil {
		return codec{}, fmt.Errorf("l2tp: set up the decoding of records: %w", err)
	}
	anything, err := cbor.DecOptions{}.DecMode()
	if err != nil {
		return codec{}, fmt.Errorf("l2tp: set up the decoding of records: %w", err)
	}
	return codec{encoding, decoding, anything, new(bytes.Buffer)}, nil
}

// encode returns the state of a slot. It is valid until the next call.
func (c *codec) encode(s *slot) ([]byte, error) {
	saved, err := s.save()
	if err != nil {
		return nil, err
	}
	c.buffer.Reset()
	if err := c.encoding.MarshalToBuffer(&saved, c.buffer); err != nil {
		return nil, err
	}
	return c.buffer.Bytes(), nil
}

// decode reads the state of a slot, without a look at its sense.
func (c *codec) decode(state []byte) (savedSlot, error) {
	var saved savedSlot
	err := c.decoding.Unmarshal(state, &saved)
	if err == nil && saved.Version == stateVersion {
		return saved, nil
	}
	var version struct {
		Version uint64 `cbor:"1,keyasint"`
	}
	if other := c.anything.Unmarshal(state, &version); other == nil && version.Version != stateVersion {
		return savedSlot{}, fmt.Errorf("%w: it has %d, this program reads %d", ErrRecordVersion, version.Version, stateVersion)
	}
	return savedSlot{}, errors.Join(ErrRecord, err)
}
