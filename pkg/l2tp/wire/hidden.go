package wire

import (
	"crypto/md5" //nolint:gosec // the cipher of RFC 2661 4.3
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// errHidden means that a hidden AVP cannot be revealed.
var errHidden = errors.New("hidden AVP")

// reveal undoes RFC 2661 4.3. The result's length field is cipher output, so that a wrong secret or a hostile peer yields any
// length: it is compared with what is there, here and nowhere else.
func (a AVP) reveal(secret, vector []byte) (AVP, error) {
	if len(secret) == 0 || len(vector) == 0 {
		return AVP{}, fmt.Errorf("%w: no tunnel secret or no Random Vector", errHidden)
	}
	plain := make([]byte, len(a.Value))
	for i, key := 0, hiddenKey(a.Type, secret, vector); i < len(plain); i += md5.Size {
		end := min(i+md5.Size, len(plain))
		subtle.XORBytes(plain[i:end], a.Value[i:end], key[:])
		key = md5.Sum(append(append([]byte{}, secret...), a.Value[i:end]...))
	}
	if len(plain) < 2 {
		return AVP{}, fmt.Errorf("%w: %d octets, without the original length", errHidden, len(plain))
	}
	length := int(be16(plain))
	if length > len(plain)-2 {
		return AVP{}, fmt.Errorf("%w: original length %d in %d octets", errHidden, length, len(plain))
	}
	a.Hidden = false
	a.Value = plain[2 : 2+length : 2+length]
	return a, nil
}

// hiddenKey is the first block of the key stream.
func hiddenKey(t AttributeType, secret, vector []byte) [md5.Size]byte {
	in := binary.BigEndian.AppendUint16(nil, uint16(t))
	in = append(in, secret...)
	return md5.Sum(append(in, vector...))
}
