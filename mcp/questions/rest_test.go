package questions

func services() []script { return nil }
func security() []script { return nil }
func architecture() []script { return nil }
func performance() []script { return nil }
func compliance() []script { return nil }
func debugging() []script { return nil }
func development() []script { return nil }
