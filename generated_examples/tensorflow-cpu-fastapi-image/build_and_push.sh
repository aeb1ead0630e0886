#!/usr/bin/env bash
# Build this folder's image and push it to Amazon ECR, in the one form that all of
# SageMaker accepts. ./build_and_push.sh --help says how.
set -euo pipefail

repository=${REPOSITORY:-my-model}
fallback_region='us-east-1'

usage='usage: ./build_and_push.sh [--region R] [--account A] [--tag T] [--platform P] [--dry-run] [--help] [-- BUILD OPTIONS]'

show_help() {
  cat <<HELP
$usage

Builds the image, pushes it to Amazon ECR, and prints what SageMaker is to run:

  image=\$(./build_and_push.sh)    # …/$repository@sha256:…

  --region R     default: AWS_REGION, AWS_DEFAULT_REGION, your AWS profile's, or $fallback_region
  --account A    default: the account of your AWS credentials
  --tag T        default: the git commit, with -dirty when files have changed; "latest" without git
  --platform P   linux/amd64 (default), or linux/arm64 for endpoints on Graviton
  --dry-run      say what would be done, and do nothing
  --help         show this

Options after -- go to docker buildx build:

  ./build_and_push.sh -- --build-arg BASE_IMAGE=mirror.example.com/python:3.13-slim

REPOSITORY=NAME pushes to another repository than the one of this project's name.
REGISTRY=HOST reaches your ECR by another name: FIPS, dual-stack, a proxy, or a
registry to test against. That host is sent your ECR password.
HELP
}

say() { printf '%s\n' "$*" >&2; }
fail() { say "build_and_push.sh: $*"; exit 1; }
misuse() { say "build_and_push.sh: $*"; say "$usage"; exit 64; }

# What AWS refuses is kept, for an error of one line.
ask_aws() { aws --region "$region" "$@" 2>"$scratch/refusal"; }
refusal() { tr -s '[:space:]' ' ' <"$scratch/refusal" | sed 's/^ //; s/[. ]*$//'; }

profile_region() { aws configure get region 2>/dev/null || printf '%s\n' "$fallback_region"; }

# Untracked files count as changes: they can get into the image, too.
git_tag() {
  local commit
  commit=$(git rev-parse --short HEAD 2>/dev/null) || { echo latest; return; }
  [[ -z $(git status --porcelain -- .) ]] || commit+=-dirty
  printf '%s\n' "$commit"
}

own_account() {
  ask_aws sts get-caller-identity --query Account --output text ||
    fail "AWS does not know you ($(refusal)): run 'aws configure' or 'aws sso login', or set AWS_PROFILE"
}

aws_domain() {
  case $region in
    cn-*) echo amazonaws.com.cn ;;
    *) echo amazonaws.com ;;
  esac
}

ensure_repository() {
  ask_aws ecr describe-repositories --registry-id "$account" --repository-names "$repository" >/dev/null && return
  case $(refusal) in
    *RepositoryNotFoundException*) create_repository ;;
    *AccessDenied*) ;; # a role that may only push: a missing repository stops the push
    *) fail "cannot look for the ECR repository $repository: $(refusal)" ;;
  esac
}

# MUTABLE, because "latest" and "-dirty" tags move. Deploy the digest: it cannot.
create_repository() {
  say "Creating the ECR repository $repository in $region"
  ask_aws ecr create-repository --registry-id "$account" --repository-name "$repository" \
    --image-tag-mutability MUTABLE --image-scanning-configuration scanOnPush=true >/dev/null ||
    fail "cannot create the ECR repository $repository: $(refusal)"
}

log_in() {
  aws ecr get-login-password --region "$region" |
    docker login --username AWS --password-stdin "$registry" >&2 ||
    fail "cannot log in to $registry: see above"
}

# CreateModel answers "Unsupported manifest media type" to anything else, and on
# another processor a container stops at "exec format error": both after minutes.
verify() {
  local type architecture
  type=$(in_registry '{{with .Manifest}}{{.MediaType}}{{end}}')
  [[ $type == application/vnd.docker.distribution.manifest.v2+json ]] ||
    fail "$pushed is a $type, and SageMaker wants one Docker schema 2 image: leave --platform, --output, --provenance and --sbom out of the build options"
  architecture=$(in_registry '{{.Image.Architecture}}')
  [[ $platform == "linux/$architecture" ]] ||
    fail "$pushed is for linux/$architecture, not $platform: use a builder that knows it (docker buildx ls)"
}

in_registry() { docker buildx imagetools inspect "$pushed" --format "$1"; }

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

region='' account='' tag='' platform=linux/amd64 dry_run=''

while (($#)); do
  case $1 in
    --region | --account | --tag | --platform)
      [[ ${2:--} != -* ]] || misuse "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --*=*)
      option=$1
      shift
      set -- "${option%%=*}" "${option#*=}" "$@"
      continue
      ;;
    --dry-run) dry_run=yes ;;
    --help) show_help; exit ;;
    --) shift; break ;;
    *) misuse "unknown argument: $1" ;;
  esac
  shift
done

command -v aws >/dev/null || fail "the AWS CLI is not installed: see https://aws.amazon.com/cli/"

region=${region:-${AWS_REGION:-${AWS_DEFAULT_REGION:-$(profile_region)}}}
tag=${tag:-$(git_tag)}
[[ $region =~ ^[a-z]+(-[a-z]+)+-[0-9]+$ ]] || misuse "a region is like us-east-1, not '$region'"
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]] || misuse "a tag is letters, digits, '.', '_' and '-', not '$tag'"
[[ $platform =~ ^linux/(amd64|arm64)$ ]] || misuse "a platform is linux/amd64 or linux/arm64, one per image, not '$platform'"

account=${account:-$(own_account)}
[[ $account =~ ^[0-9]{12}$ ]] || misuse "an account is 12 digits, not '$account'"

registry=${REGISTRY:-$account.dkr.ecr.$region.$(aws_domain)}
[[ $registry =~ ^[A-Za-z0-9.-]+(:[0-9]+)?$ ]] || misuse "REGISTRY is a host name, without https:// or a path, not '$registry'"

# Attestations would make it an index; gzip is the only compression schema 2 knows.
# Nothing is pushed before the whole build has succeeded.
image=$registry/$repository:$tag
build=(
  docker buildx build --platform "$platform" --provenance=false --sbom=false
  --output "type=image,name=$image,push=true,oci-mediatypes=false,compression=gzip,force-compression=true"
  "$@"
)

if [[ -n $dry_run ]]; then
  say "Would create the ECR repository $repository in $region, account $account, unless it exists; log in to $registry; and run"
  printf '%q ' "${build[@]}"
  echo .
  exit
fi

docker info >/dev/null 2>&1 || fail "no Docker engine answers: start Docker, or install it (https://docs.docker.com/engine/install/)"
docker buildx version >/dev/null 2>&1 || fail "docker lacks buildx: install its package, docker-buildx or docker-buildx-plugin"

ensure_repository
log_in
"${build[@]}" --metadata-file "$scratch/metadata.json" . >&2 || fail "no image was pushed: see above"

pushed=$registry/$repository@$(sed -n 's/.*"containerimage.digest": *"\([^"]*\)".*/\1/p' "$scratch/metadata.json")
verify
say "Pushed $image"
printf '%s\n' "$pushed"
