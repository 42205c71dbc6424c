package aaa

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxUserName = 64  // octets
	maxPassword = 128 // octets: the most that User-Password can carry (RFC 2865 section 5.2)
)

// User is a local user.
type User struct {
	// Name is compared exactly, 1 to 64 octets of UTF-8 without control characters.
	Name string
	// Password is kept in clear, as CHAP needs it: 1 to 128 octets of UTF-8.
	Password string
	// Address is the user's own IPv4 address, or the zero Addr for one from the pool.
	Address netip.Addr
}

// String does not show the password.
func (u User) String() string { return fmt.Sprintf("user %q", u.Name) }

// GoString does not show the password.
func (u User) GoString() string { return u.String() }

func (u User) check() error {
	switch {
	case u.Name == "" || len(u.Name) > maxUserName || !text(u.Name):
		return fmt.Errorf("user name %q: want 1 to %d octets of UTF-8 without control characters", u.Name, maxUserName)
	case u.Password == "":
		return fmt.Errorf("user %q: the password is empty", u.Name)
	case len(u.Password) > maxPassword || !text(u.Password):
		return fmt.Errorf("user %q: want a password of at most %d octets of UTF-8 without control characters", u.Name, maxPassword)
	case u.Address.IsValid() && !u.Address.Is4():
		return fmt.Errorf("user %q: address %v is not IPv4", u.Name, u.Address)
	}
	return nil
}

func text(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// directory finds users by the name that pppd tells us.
type directory map[string]User

// newDirectory refuses names that would not be told apart, and addresses given twice.
func newDirectory(users []User) (directory, error) {
	d := make(directory, len(users))
	owner := make(map[netip.Addr]string)
	var errs []error
	for _, u := range users {
		if err := u.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		if other, ok := d[visible(u.Name)]; ok {
			errs = append(errs, fmt.Errorf("user names %q and %q cannot be told apart", other.Name, u.Name))
			continue
		}
		if u.Address.IsValid() {
			if other, ok := owner[u.Address]; ok {
				errs = append(errs, fmt.Errorf("users %q and %q have the same address %v", other, u.Name, u.Address))
				continue
			}
			owner[u.Address] = u.Name
		}
		d[visible(u.Name)] = u
	}
	return d, errors.Join(errs...)
}

// find looks for the exact name, then, for DOMAIN\user as Windows sends it, for user.
func (d directory) find(name string) (User, bool) {
	if u, ok := d[name]; ok {
		return u, true
	}
	if i := strings.LastIndexByte(name, '\\'); i >= 0 {
		u, ok := d[name[i+1:]]
		return u, ok
	}
	return User{}, false
}

// visible writes s as pppd's log format %v does, in which it hands names and PAP passwords to plugins: an octet with the
// high bit as M- and the rest, a control character as ^ and the character 64 above.
func visible(s string) string {
	var sb strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 0x80 {
			sb.WriteString("M-")
			c -= 0x80
		}
		if c < ' ' || c == 0x7f {
			sb.WriteByte('^')
			c ^= 0x40
		}
		sb.WriteByte(c)
	}
	return sb.String()
}
