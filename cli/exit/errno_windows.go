package exit

import "golang.org/x/sys/windows"

// Errors of the system: a disk that cannot be written, a path that leads nowhere, a folder in place of a
// file, a pipe without a reader.
var (
	readOnly   = []error{windows.ERROR_WRITE_PROTECT}
	diskErrors = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED, windows.ERROR_WRITE_PROTECT,
		windows.ERROR_WRITE_FAULT, windows.ERROR_READ_FAULT, windows.ERROR_CRC, windows.ERROR_IO_DEVICE}
	badPaths    = []error{windows.ERROR_INVALID_NAME, windows.ERROR_DIRECTORY, windows.ERROR_FILENAME_EXCED_RANGE, windows.ERROR_BAD_PATHNAME, windows.ERROR_INVALID_DRIVE, windows.ERROR_NOT_READY}
	folders     = []error{windows.ERROR_INVALID_FUNCTION} // of reading one
	closedPipes = []error{windows.ERROR_BROKEN_PIPE, windows.ERROR_NO_DATA}
)
