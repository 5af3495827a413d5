package winerror

import "testing"

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		kind          Kind
		n             uint32
		name, outcome string
	}{
		{NTStatus, 0, "STATUS_SUCCESS", ""},
		{NTStatus, 0x103, "STATUS_PENDING", ""},
		{NTStatus, 0x105, "STATUS_MORE_ENTRIES", ""},
		{NTStatus, 0x80000005, "STATUS_BUFFER_OVERFLOW", ""},
		{NTStatus, 0x8000001a, "STATUS_NO_MORE_ENTRIES", ""},
		{NTStatus, 0xc0000016, "STATUS_MORE_PROCESSING_REQUIRED", ""},
		{NTStatus, 0xc0000022, "STATUS_ACCESS_DENIED", "refused"},
		{NTStatus, 0xc000006d, "STATUS_LOGON_FAILURE", "client_error"},
		{NTStatus, 0xc0000017, "STATUS_NO_MEMORY", "server_error"},
		{NTStatus, 0xcfffffff, "0xcfffffff", "client_error"},
		{Win32, 0, "", ""},
		{Win32, 5, "ERROR_ACCESS_DENIED", "refused"},
		{Win32, 2, "ERROR_FILE_NOT_FOUND", "client_error"},
		{Win32, 234, "ERROR_MORE_DATA", ""},
		{Win32, 122, "ERROR_INSUFFICIENT_BUFFER", ""},
		{Win32, 1722, "RPC_S_SERVER_UNAVAILABLE", "server_error"},
		{Win32, 2221, "NERR_UserNotFound", "client_error"},
		{Win32, 8453, "ERROR_DS_DRA_ACCESS_DENIED", "refused"},
		{Win32, 0x16c9a0d6, "ept_s_not_registered", "client_error"},
		{Win32, 0xc0000022, "STATUS_ACCESS_DENIED", "refused"},
		{Win32, 0x80070005, "E_ACCESSDENIED", "refused"},
		{Win32, 77777, "0x00012fd1", "client_error"},
		{HResult, 0, "", ""},
		{HResult, 1, "S_FALSE", ""},
		{HResult, 0x00040004, "WBEM_S_TIMEDOUT", ""},
		{HResult, 0x80070002, "ERROR_FILE_NOT_FOUND", "client_error"},
		{HResult, 0x80070005, "E_ACCESSDENIED", "refused"},
		{HResult, 0xd0000022, "STATUS_ACCESS_DENIED", "refused"},
		{HResult, 0x80041002, "WBEM_E_NOT_FOUND", "client_error"},
		{HResult, 0x8000ffff, "E_UNEXPECTED", "server_error"},
		{HResult, 0x89990001, "0x89990001", "client_error"},
		{HResult, 0x8007ffff, "0x8007ffff", "client_error"},
		{Win32, 0xffffffff, "0xffffffff", "client_error"},
		{MAPI, 0x00040380, "ErrorsReturned", ""},
		{MAPI, 0x8004010f, "NotFound", "client_error"},
		{MAPI, 0x80070005, "AccessDenied", "refused"},
	} {
		if name, outcome := Read(tt.kind, tt.n); name != tt.name || outcome != tt.outcome {
			t.Errorf("%s %#x: %s %q, want %s %q", tt.kind, tt.n, name, outcome, tt.name, tt.outcome)
		}
	}
}

// TestSections reads every line of the tables: what a section says of a value has the name of the value.
func TestSections(t *testing.T) {
	for kind, all := range map[string]map[string]map[int64]string{"ntstatus": sections(ntstatus()), "win32": sections(win32()), "hresult": sections(hresult()), "mapi": sections(mapi())} {
		for section, lines := range all {
			for n, name := range lines {
				if all["name"][n] != name {
					t.Errorf("%s: %#x is %s in section %s, and %q in section name", kind, n, name, section, all["name"][n])
				}
			}
		}
	}
}

func sections[T ~map[int64]string](all map[string]T) map[string]map[int64]string {
	plain := map[string]map[int64]string{}
	for k, v := range all {
		plain[k] = v
	}
	return plain
}
