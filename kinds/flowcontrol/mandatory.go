package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
)

func number(n int32) *int32 { return &n }

func groups(names ...string) (out []flowcontrolv1.Subject) {
	for _, name := range names {
		out = append(out, flowcontrolv1.Subject{Kind: flowcontrolv1.SubjectKindGroup, Group: &flowcontrolv1.GroupSubject{Name: name}})
	}
	return out
}

// everything that subjects may ask.
func everything(subjects []flowcontrolv1.Subject) []flowcontrolv1.PolicyRulesWithSubjects {
	all := []string{"*"}
	return []flowcontrolv1.PolicyRulesWithSubjects{{
		Subjects:         subjects,
		ResourceRules:    []flowcontrolv1.ResourcePolicyRule{{Verbs: all, APIGroups: all, Resources: all, ClusterScope: true, Namespaces: all}},
		NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: all, NonResourceURLs: all}},
	}}
}

// mandatorySchema is what a FlowSchema that must be there says; nil for all others.
func mandatorySchema(name string) *flowcontrolv1.FlowSchemaSpec {
	switch name {
	case flowcontrolv1.FlowSchemaNameExempt:
		return &flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: flowcontrolv1.PriorityLevelConfigurationNameExempt},
			MatchingPrecedence:         1, Rules: everything(groups("system:masters")),
		}
	case flowcontrolv1.FlowSchemaNameCatchAll:
		return &flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: flowcontrolv1.PriorityLevelConfigurationNameCatchAll},
			MatchingPrecedence:         10000, DistinguisherMethod: &flowcontrolv1.FlowDistinguisherMethod{Type: flowcontrolv1.FlowDistinguisherMethodByUserType},
			Rules: everything(groups("system:unauthenticated", "system:authenticated")),
		}
	}
	return nil
}

// mandatoryLevel is the same for PriorityLevelConfigurations. Of the exempt level, exempt may be changed.
func mandatoryLevel(name string) *flowcontrolv1.PriorityLevelConfigurationSpec {
	switch name {
	case flowcontrolv1.PriorityLevelConfigurationNameExempt:
		return &flowcontrolv1.PriorityLevelConfigurationSpec{
			Type:   flowcontrolv1.PriorityLevelEnablementExempt,
			Exempt: &flowcontrolv1.ExemptPriorityLevelConfiguration{NominalConcurrencyShares: number(0), LendablePercent: number(0)},
		}
	case flowcontrolv1.PriorityLevelConfigurationNameCatchAll:
		return &flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: number(5), LendablePercent: number(0),
				LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject}},
		}
	}
	return nil
}
