package servicemap

import "testing"

// TestGroupsAreNoClients has a response that a server outside sent to the broadcast address, such as a DHCPNAK.
func TestGroupsAreNoClients(t *testing.T) {
	for client, want := range map[string]int{"255.255.255.255": 0, "224.0.0.1": 0, "ff02::1": 0, "10.0.0.1": 1} {
		row := externalRow{Name: "203.0.113.9"}
		row.Client = client
		if got := mergeRows([]externalRow{row}, nil, nil, nil); len(got) != want {
			t.Errorf("client %s: %d destinations, want %d", client, len(got), want)
		}
	}
}
