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

// What CheckName and CheckPassword want, in words.
const (
	NameForm     = "1 to 64 octets of UTF-8 without control characters"
	PasswordForm = "1 to 128 octets of UTF-8 without control characters"
)

// CheckName reports a name that no user can have. The error says what is wrong with it, without the name.
func CheckName(name string) error { return checkText(name, maxUserName) }

// CheckPassword reports a password that no user can have. The error says what is wrong with it, without the password.
func CheckPassword(password string) error { return checkText(password, maxPassword) }

func checkText(s string, longest int) error {
	switch {
	case s == "":
		return errors.New("nothing")
	case len(s) > longest:
		return fmt.Errorf("%d octets", len(s))
	case !utf8.ValidString(s):
		return errors.New("octets that are not UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("a control character")
	}
	return nil
}

// NameKey is what is known of a name when a user logs in: users whose names have the same key cannot be told apart.
func NameKey(name string) string { return visible(name) }

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
	if err := CheckName(u.Name); err != nil {
		return fmt.Errorf("user name %q has %w, want %s", u.Name, err, NameForm)
	}
	if err := CheckPassword(u.Password); err != nil {
		return fmt.Errorf("user %q: the password has %w, want %s", u.Name, err, PasswordForm)
	}
	if u.Address.IsValid() && !u.Address.Is4() {
		return fmt.Errorf("user %q: address %v is not IPv4", u.Name, u.Address)
	}
	return nil
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
		if other, ok := d[NameKey(u.Name)]; ok {
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
		d[NameKey(u.Name)] = u
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
