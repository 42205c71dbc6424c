package protocol

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// maxElements is for an inventory of all slots.
const maxElements = 1 << 20

// The errors are of options, which never change.
var (
	encoding, encodingErr = cbor.EncOptions{}.EncMode()
	decoding, decodingErr = cbor.DecOptions{MaxArrayElements: maxElements, MaxMapPairs: maxElements, MaxNestedLevels: 16}.DecMode()
)

// Marshal encodes a body; nil is an empty one.
func Marshal(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	if encodingErr != nil {
		return nil, encodingErr
	}
	b, err := encoding.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", reflect.TypeOf(body), err)
	}
	return b, nil
}

// Unmarshal decodes a body into what v points to. The error is ErrMalformed.
func Unmarshal(b []byte, v any) error {
	err := decodingErr
	if err == nil {
		err = decoding.Unmarshal(b, v)
	}
	if err != nil {
		return errors.Join(ErrMalformed, fmt.Errorf("decode %s: %w", reflect.TypeOf(v).Elem(), err))
	}
	return nil
}
