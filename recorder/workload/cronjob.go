package workload

import (
	"strconv"
	"strings"
	"time"
)

// lateRun is the longest time from the minute in the name of a CronJob's Job to the start of its pods.
const lateRun = 7 * 24 * time.Hour

// CronJobOf derives a CronJob from the name of one of its Jobs, which may be gone while its pods are known: the controller
// appends the scheduled time in minutes since 1970 (in releases before 1.21 a hash, which says nothing). started is when a pod
// of the Job started, in nanoseconds; another number is no scheduled time.
func CronJobOf(job string, started int64) (string, bool) {
	at := strings.LastIndexByte(job, '-')
	if at <= 0 || len(job)-at-1 != 8 {
		return "", false
	}
	minutes, err := strconv.ParseUint(job[at+1:], 10, 32)
	if err != nil {
		return "", false
	}
	late := time.Duration(started - int64(minutes)*int64(time.Minute))
	return job[:at], -time.Minute <= late && late <= lateRun
}
