package certificates

import (
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// CertificateSigningRequest asks for a certificate. Its approval subresource says yes or no, its status brings the certificate; what was asked for, and by
// whom, does not change.
var CertificateSigningRequest = kinds.Define(kinds.Definition[*certificatesv1.CertificateSigningRequest, *certificatesv1.CertificateSigningRequestList]{
	Group: "certificates.k8s.io", Version: "v1", Kind: "CertificateSigningRequest", Plural: "certificatesigningrequests", ShortNames: []string{"csr"},
	New: func() *certificatesv1.CertificateSigningRequest { return &certificatesv1.CertificateSigningRequest{} },
	NewList: func() *certificatesv1.CertificateSigningRequestList {
		return &certificatesv1.CertificateSigningRequestList{}
	},
	ValidName: func(string, bool) []string { return nil },
	Requested: func(r *certificatesv1.CertificateSigningRequest, by kinds.Requester) {
		r.Spec.Username, r.Spec.UID, r.Spec.Groups, r.Spec.Extra = by.Name, by.UID, slices.Clone(by.Groups), nil
		for k, v := range by.Extra {
			if r.Spec.Extra == nil {
				r.Spec.Extra = map[string]certificatesv1.ExtraValue{}
			}
			r.Spec.Extra[k] = slices.Clone(v)
		}
	},
	CopyStatus:   func(dst, src *certificatesv1.CertificateSigningRequest) { dst.Status = src.Status },
	CopySpec:     keepDecisions,
	StatusResets: []string{"status.conditions"},
	BeforeUpdate: func(r, old *certificatesv1.CertificateSigningRequest) { r.Spec = old.Spec },
	Stamp:        stampConditions,
	Validate:     func(r *certificatesv1.CertificateSigningRequest) field.ErrorList { return validateRequest(r, nil) },
	ValidateUpdate: func(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
		return validateChange(r, old, false, false)
	},
	ValidateStatus: func(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
		return validateChange(r, old, false, true)
	},
	Fields: map[string]func(*certificatesv1.CertificateSigningRequest) string{
		"spec.signerName": func(r *certificatesv1.CertificateSigningRequest) string { return r.Spec.SignerName },
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.AgeColumn(),
		kinds.Column("SignerName", "string", certificatesv1.CertificateSigningRequestSpec{}.SwaggerDoc()["signerName"]),
		kinds.Column("Requestor", "string", certificatesv1.CertificateSigningRequestSpec{}.SwaggerDoc()["request"]),
		kinds.Column("RequestedDuration", "string", certificatesv1.CertificateSigningRequestSpec{}.SwaggerDoc()["expirationSeconds"]),
		kinds.Column("Condition", "string", certificatesv1.CertificateSigningRequestStatus{}.SwaggerDoc()["conditions"]),
	},
	Row: func(r *certificatesv1.CertificateSigningRequest) []any {
		signer, wanted := "<none>", "<none>"
		if r.Spec.SignerName != "" {
			signer = r.Spec.SignerName
		}
		if n := r.Spec.ExpirationSeconds; n != nil {
			wanted = duration.HumanDuration(time.Duration(*n) * time.Second)
		}
		return []any{r.Name, kinds.Age(r.CreationTimestamp), signer, r.Spec.Username, wanted, state(r)}
	},
	Subresources: []*kinds.Subresource{{
		Name: "approval", Verbs: []string{"get", "update", "patch"}, Resets: []string{"spec", "status.certificate"},
		Before: func(obj, old kinds.Object) {
			r, was := obj.(*certificatesv1.CertificateSigningRequest), old.(*certificatesv1.CertificateSigningRequest)
			conditions := r.Status.Conditions
			r.Spec, r.Status = was.Spec, was.Status
			r.Status.Conditions = conditions
		},
		Validate: func(obj, old kinds.Object) field.ErrorList {
			return validateChange(obj.(*certificatesv1.CertificateSigningRequest), old.(*certificatesv1.CertificateSigningRequest), true, false)
		},
	}},
})

// keepDecisions keeps the spec and, in status, the conditions that only approval may set, as long as there are as many as before.
func keepDecisions(r, old *certificatesv1.CertificateSigningRequest) {
	r.Spec = old.Spec
	for _, t := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		is, was := indexes(r, t), indexes(old, t)
		if len(is) != len(was) {
			continue // which validation refuses
		}
		for i := range is {
			r.Status.Conditions[is[i]] = old.Status.Conditions[was[i]]
		}
	}
}

func indexes(r *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) (out []int) {
	for i := range r.Status.Conditions {
		if r.Status.Conditions[i].Type == t {
			out = append(out, i)
		}
	}
	return out
}

// stampConditions gives new conditions their times.
func stampConditions(r, old *certificatesv1.CertificateSigningRequest, now metav1.Time) {
	if old == nil {
		return
	}
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if !c.LastTransitionTime.IsZero() {
			continue
		}
		c.LastTransitionTime = now
		for _, was := range old.Status.Conditions {
			if was.Type == c.Type && was.Status == c.Status && !was.LastTransitionTime.IsZero() {
				c.LastTransitionTime = was.LastTransitionTime
				break
			}
		}
	}
}

func state(r *certificatesv1.CertificateSigningRequest) string {
	has := func(t certificatesv1.RequestConditionType) bool { return len(indexes(r, t)) > 0 }
	out := "Pending"
	if has(certificatesv1.CertificateDenied) {
		out = "Denied"
	} else if has(certificatesv1.CertificateApproved) {
		out = "Approved"
	}
	if has(certificatesv1.CertificateFailed) {
		out += ",Failed"
	}
	if len(r.Status.Certificate) > 0 {
		out += ",Issued"
	}
	return out
}
