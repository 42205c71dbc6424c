package concentrator

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// readXfrmStat returns the non-zero counters of /proc/net/xfrm_stat: what XFRM dropped in this network namespace, and why.
func readXfrmStat() (map[string]uint64, error) {
	data, err := os.ReadFile("/proc/thread-self/net/xfrm_stat")
	if err != nil {
		return nil, fmt.Errorf("read XFRM counters (is CONFIG_XFRM_STATISTICS set?): %w", err)
	}
	return parseXfrmStat(data), nil
}

func parseXfrmStat(data []byte) map[string]uint64 {
	stat := make(map[string]uint64)
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		fields := strings.Fields(scan.Text())
		if len(fields) != 2 {
			continue
		}
		if n, err := strconv.ParseUint(fields[1], 10, 64); err == nil && n > 0 {
			stat[fields[0]] = n
		}
	}
	return stat
}
