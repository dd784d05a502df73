package certificates

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds/podspec"
)

// usages are what a certificate can be for, in the order of their names.
var usages = []certificatesv1.KeyUsage{
	certificatesv1.UsageAny, certificatesv1.UsageCertSign, certificatesv1.UsageClientAuth, certificatesv1.UsageCodeSigning, certificatesv1.UsageContentCommitment,
	certificatesv1.UsageCRLSign, certificatesv1.UsageDataEncipherment, certificatesv1.UsageDecipherOnly, certificatesv1.UsageDigitalSignature,
	certificatesv1.UsageEmailProtection, certificatesv1.UsageEncipherOnly, certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel,
	certificatesv1.UsageIPsecUser, certificatesv1.UsageKeyAgreement, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageMicrosoftSGC,
	certificatesv1.UsageNetscapeSGC, certificatesv1.UsageOCSPSigning, certificatesv1.UsageSMIME, certificatesv1.UsageServerAuth, certificatesv1.UsageSigning,
	certificatesv1.UsageTimestamping,
}

const legacySigner = "kubernetes.io/legacy-unknown"

// leniency is what a changed request may keep because the old one had it.
type leniency struct {
	bothDecisions, twiceCondition, namelessCondition, twiceUsage, anyUsage, legacySigner, anyCertificate bool
}

func lenientFor(r, old *certificatesv1.CertificateSigningRequest) (may leniency) {
	if old == nil {
		return may
	}
	seen := map[certificatesv1.RequestConditionType]bool{}
	for _, c := range old.Status.Conditions {
		may.twiceCondition = may.twiceCondition || seen[c.Type]
		may.namelessCondition = may.namelessCondition || c.Type == ""
		seen[c.Type] = true
	}
	may.bothDecisions = seen[certificatesv1.CertificateApproved] && seen[certificatesv1.CertificateDenied]
	for i, u := range old.Spec.Usages {
		may.twiceUsage = may.twiceUsage || slices.Contains(old.Spec.Usages[:i], u)
		may.anyUsage = may.anyUsage || !slices.Contains(usages, u)
	}
	may.legacySigner = old.Spec.SignerName == legacySigner
	may.anyCertificate = bytes.Equal(r.Status.Certificate, old.Status.Certificate) || checkCertificate(old.Status.Certificate) != nil
	return may
}

// validateRequest holds for creates (old is nil) and updates.
func validateRequest(r, old *certificatesv1.CertificateSigningRequest) (errs field.ErrorList) {
	may, spec := lenientFor(r, old), field.NewPath("spec")
	if err := checkRequest(r.Spec.Request); err != nil {
		errs = append(errs, field.Invalid(spec.Child("request"), r.Spec.Request, err.Error()))
	}
	if len(r.Spec.Usages) == 0 {
		errs = append(errs, field.Required(spec.Child("usages"), ""))
	}
	for i, u := range r.Spec.Usages {
		if !may.anyUsage && !slices.Contains(usages, u) {
			errs = append(errs, field.NotSupported(spec.Child("usages").Index(i), u, usages))
		}
	}
	for i, u := range r.Spec.Usages {
		if !may.twiceUsage && slices.Contains(r.Spec.Usages[:i], u) {
			errs = append(errs, field.Duplicate(spec.Child("usages").Index(i), u))
		}
	}
	if r.Spec.SignerName == legacySigner && !may.legacySigner {
		errs = append(errs, field.Invalid(spec.Child("signerName"), r.Spec.SignerName, "the legacy signerName is not allowed via this API version"))
	} else {
		errs = append(errs, podspec.ValidateSignerName(r.Spec.SignerName, spec.Child("signerName"))...)
	}
	if n := r.Spec.ExpirationSeconds; n != nil && *n < 600 {
		errs = append(errs, field.Invalid(spec.Child("expirationSeconds"), *n, "may not specify a duration less than 600 seconds (10 minutes)"))
	}
	errs = append(errs, validateConditions(r.Status.Conditions, may, field.NewPath("status", "conditions"))...)
	if !may.anyCertificate {
		if err := checkCertificate(r.Status.Certificate); err != nil {
			errs = append(errs, field.Invalid(field.NewPath("status", "certificate"), "<certificate data>", err.Error()))
		}
	}
	return errs
}

func validateConditions(conditions []certificatesv1.CertificateSigningRequestCondition, may leniency, fld *field.Path) (errs field.ErrorList) {
	seen := map[certificatesv1.RequestConditionType]bool{}
	for i, c := range conditions {
		at := fld.Index(i)
		if c.Type == "" && !may.namelessCondition {
			errs = append(errs, field.Required(at.Child("type"), ""))
		}
		statuses := []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown}
		switch c.Type {
		case certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed: // there is no going back
			statuses = []corev1.ConditionStatus{corev1.ConditionTrue}
		}
		if c.Status == "" {
			errs = append(errs, field.Required(at.Child("status"), ""))
		} else if !slices.Contains(statuses, c.Status) {
			errs = append(errs, field.NotSupported(at.Child("status"), c.Status, statuses))
		}
		if !may.bothDecisions && (c.Type == certificatesv1.CertificateApproved && seen[certificatesv1.CertificateDenied] ||
			c.Type == certificatesv1.CertificateDenied && seen[certificatesv1.CertificateApproved]) {
			errs = append(errs, field.Invalid(fld, c.Type, "Approved and Denied conditions are mutually exclusive"))
		}
		if seen[c.Type] && !may.twiceCondition {
			errs = append(errs, field.Duplicate(at.Child("type"), c.Type))
		}
		seen[c.Type] = true
	}
	return errs
}

// validateChange: decides allows decisions to be added, issues a certificate.
func validateChange(r, old *certificatesv1.CertificateSigningRequest, decides, issues bool) field.ErrorList {
	errs := validateRequest(r, old)
	conditions, certificate := field.NewPath("status", "conditions"), field.NewPath("status", "certificate")
	of := func(r *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) (out []certificatesv1.CertificateSigningRequestCondition) {
		for _, i := range indexes(r, t) {
			out = append(out, r.Status.Conditions[i])
		}
		return out
	}
	for _, t := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed} {
		if len(of(r, t)) < len(of(old, t)) {
			errs = append(errs, field.Forbidden(conditions, fmt.Sprintf("updates may not remove a condition of type %q", t)))
		}
	}
	for _, t := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		switch is, was := of(r, t), of(old, t); {
		case decides || len(is) < len(was):
		case len(is) > len(was):
			errs = append(errs, field.Forbidden(conditions, fmt.Sprintf("updates may not add a condition of type %q", t)))
		case !equality.Semantic.DeepEqual(was, is):
			errs = append(errs, field.Forbidden(conditions, fmt.Sprintf("updates may not modify a condition of type %q\n%v", t, diff.Diff(was, is))))
		}
	}
	switch {
	case bytes.Equal(r.Status.Certificate, old.Status.Certificate):
	case !issues:
		errs = append(errs, field.Forbidden(certificate, "updates may not set certificate content"))
	case len(old.Status.Certificate) > 0:
		errs = append(errs, field.Forbidden(certificate, "updates may not modify existing certificate content"))
	}
	return errs
}

func checkRequest(data []byte) error {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	return r.CheckSignature()
}

func checkCertificate(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	for n := 0; ; n++ {
		block, rest := pem.Decode(data)
		switch {
		case block == nil && n == 0:
			return errors.New("must contain at least one CERTIFICATE PEM block")
		case block == nil:
			return nil
		case block.Type != "CERTIFICATE":
			return fmt.Errorf("only CERTIFICATE PEM blocks are allowed, found %q", block.Type)
		case len(block.Headers) != 0:
			return errors.New("no PEM block headers are permitted")
		}
		certs, err := x509.ParseCertificates(block.Bytes)
		if err != nil {
			return err
		}
		if len(certs) == 0 {
			return errors.New("found CERTIFICATE PEM block containing 0 certificates")
		}
		data = rest
	}
}
