package admission

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/kinds/certificates"
)

type certificateRights struct {
	authorizer authorizer.UnconditionalAuthorizer
}

// Certificates is Kubernetes' CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who approves or signs a request must have that right for its
// signer, and nobody asks the API server's signer for a certificate of group system:masters.
func Certificates(z authorizer.UnconditionalAuthorizer) Plugin { return certificateRights{z} }

func (certificateRights) Name() string { return "Certificates" }

func (p certificateRights) Validate(ctx context.Context, r *Request) error {
	if r.Kind != certificates.CertificateSigningRequest || r.Object == nil {
		return nil
	}
	csr := r.Object.(*certificatesv1.CertificateSigningRequest)
	if r.Operation == Create {
		if r.Subresource == "" && csr.Spec.SignerName == certificatesv1.KubeAPIServerClientSignerName {
			return subjectAllowed(r, csr.Spec.Request)
		}
		return nil
	}
	if r.Operation != Update {
		return nil
	}
	old := r.Old.(*certificatesv1.CertificateSigningRequest)
	switch r.Subresource {
	case "approval":
		if !p.may(ctx, r.User, "approve", old.Spec.SignerName) {
			return Forbidden(r, "user not permitted to approve requests with signerName %q", old.Spec.SignerName)
		}
	case "status":
		if bytes.Equal(old.Status.Certificate, csr.Status.Certificate) && equality.Semantic.DeepEqual(old.Status.Conditions, csr.Status.Conditions) {
			return nil
		}
		if !p.may(ctx, r.User, "sign", old.Spec.SignerName) {
			return Forbidden(r, "user not permitted to sign requests with signerName %q", old.Spec.SignerName)
		}
	}
	return nil
}

// may asks for the signer itself, and for all signers of its domain.
func (p certificateRights) may(ctx context.Context, u user.Info, verb, signer string) bool {
	domain, _, _ := strings.Cut(signer, "/")
	return slices.ContainsFunc([]string{signer, domain + "/*"}, func(name string) bool {
		d, _, err := p.authorizer.Authorize(ctx, authorizer.AttributesRecord{
			User: u, Verb: verb, Name: name, APIGroup: certificatesv1.GroupName, APIVersion: "*", Resource: "signers", ResourceRequest: true,
		})
		return err == nil && d == authorizer.DecisionAllow
	})
}

func subjectAllowed(r *Request, request []byte) error {
	block, _ := pem.Decode(request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return Forbidden(r, "failed to parse CSR: %w", errors.New("PEM block type must be CERTIFICATE REQUEST"))
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return Forbidden(r, "failed to parse CSR: %w", err)
	}
	if slices.Contains(parsed.Subject.Organization, user.SystemPrivilegedGroup) {
		return Forbidden(r, "use of %s signer with system:masters group is not allowed", certificatesv1.KubeAPIServerClientSignerName)
	}
	return nil
}
