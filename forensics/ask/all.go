package ask

// All lists the questions, in the order in which people should meet them.
func All() []Question {
	return []Question{
		overview(),
		apiStats(),
		networkPolicies(),
		openAPI(),
		serviceMap(),
		dependencies(),
		listExternal(),
		latency(),
		comparePeriods(),
		findPatterns(),
		capacity(),
		findFailures(),
		traceRequest(),
		searchContent(),
		timeline(),
		describeService(),
		auditAccess(),
		getPair(),
	}
}
