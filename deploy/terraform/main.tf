# The same cluster that `lakewright cluster create` makes: names, tags, policies, rules, bootstrap action.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}
data "aws_subnet" "this" {
  id = var.subnet_id
}

locals {
  partition = data.aws_partition.this.partition
  account   = data.aws_caller_identity.this.account_id
  region    = data.aws_region.this.name

  cluster      = "lakewright-${var.name}"
  node_role    = "lakewright-${var.name}-node"
  service_role = "lakewright-${var.name}-service"

  tags = merge(var.tags, {
    "lakewright:cluster"                       = var.name
    "for-use-with-amazon-emr-managed-policies" = "true"
  })

  folder = { bucket = var.artifacts.bucket, prefix = "${var.artifacts.prefix}/${var.name}" }
  read   = concat(var.raw, var.jobs)
  listed = concat(local.read, [var.lake, local.folder])
  raw    = [for raw in var.raw : "s3://${raw.bucket}/${raw.prefix}"]

  # Whether the scheduler scales the task nodes.
  scaled = try(var.task.count_max, null) != null

  # What nodes get. The folder's name is the checksum of what is in it.
  source_folder = "${path.module}/../emr"
  settings = merge({
    AWS_REGION            = local.region
    AWS_DEFAULT_REGION    = local.region
    CLIENT_FOLDER         = "s3://${local.folder.bucket}/${local.folder.prefix}/client"
    LAKEWRIGHT_CERTS      = "/var/lib/lakewright/certs"
    LAKEWRIGHT_LAKE       = "s3://${var.lake.bucket}/${var.lake.prefix}"
    LAKEWRIGHT_RAW        = local.raw[0]
    LAKEWRIGHT_RAW_ROOTS  = join(",", local.raw)
    LAKEWRIGHT_S3_REGION  = local.region
    LAKEWRIGHT_TOKEN_FILE = "/var/lib/lakewright/tokens.json"
    },
    local.scaled ? { LAKEWRIGHT_SCALE = "${var.task.count}..${var.task.count_max}" } : {},
    { for key, value in var.settings : "LAKEWRIGHT_${upper(key)}" => value },
  )
  settings_file = join("", [for key, value in local.settings : "${key}=\"${value}\"\n"])

  files = merge(
    { for name in fileset("${local.source_folder}/node", "*") : name => "${local.source_folder}/node/${name}" },
    { lakewright = var.binary },
    var.tokens_file == null ? {} : { "tokens.json" = var.tokens_file },
  )
  sums = merge(
    { for name, file in local.files : name => filesha256(file) },
    { "lakewright.conf" = sha256(local.settings_file) },
  )
  sums_file   = join("", [for name, sum in local.sums : "${sum}  ${name}\n"])
  sums_sha256 = sha256(local.sums_file)
  node_prefix = "${local.folder.prefix}/node-${substr(local.sums_sha256, 0, 16)}"
  node_folder = "s3://${local.folder.bucket}/${local.node_prefix}"
}

# Roles

data "aws_iam_policy_document" "node_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "node" {
  statement {
    sid       = "ReadRawAndJobs"
    actions   = ["s3:GetObject"]
    resources = [for place in local.read : "arn:${local.partition}:s3:::${place.bucket}/${place.prefix}/*"]
  }
  statement {
    sid = "Lake"
    actions = [
      "s3:GetObject", "s3:PutObject", "s3:DeleteObject",
      "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
    ]
    resources = ["arn:${local.partition}:s3:::${var.lake.bucket}/${var.lake.prefix}/*"]
  }
  statement {
    sid       = "ReadOwnFolder"
    actions   = ["s3:GetObject"]
    resources = ["arn:${local.partition}:s3:::${local.folder.bucket}/${local.folder.prefix}/*"]
  }
  statement {
    sid     = "WriteLogsAndAuthority"
    actions = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [
      "arn:${local.partition}:s3:::${local.folder.bucket}/${local.folder.prefix}/logs/*",
      "arn:${local.partition}:s3:::${local.folder.bucket}/${local.folder.prefix}/client/*",
    ]
  }
  statement {
    sid       = "ReadWhatEmrItselfBrings"
    actions   = ["s3:GetObject"]
    resources = ["arn:${local.partition}:s3:::${local.region}.elasticmapreduce/*"]
  }
  dynamic "statement" {
    for_each = toset([for place in local.listed : place.bucket])
    content {
      actions   = ["s3:ListBucket"]
      resources = ["arn:${local.partition}:s3:::${statement.value}"]
      condition {
        test     = "StringLike"
        variable = "s3:prefix"
        values = flatten([
          for place in local.listed : [place.prefix, "${place.prefix}/*"] if place.bucket == statement.value
        ])
      }
    }
  }
  dynamic "statement" {
    for_each = local.scaled ? [local.region] : []
    content {
      sid = "ScaleOwnTaskNodes"
      actions = [
        "elasticmapreduce:DescribeCluster", "elasticmapreduce:ListInstances",
        "elasticmapreduce:ListInstanceGroups", "elasticmapreduce:ModifyInstanceGroups",
        "elasticmapreduce:ListInstanceFleets", "elasticmapreduce:ModifyInstanceFleet",
      ]
      resources = ["arn:${local.partition}:elasticmapreduce:${statement.value}:*:cluster/*"]
      condition {
        test     = "StringEquals"
        variable = "elasticmapreduce:ResourceTag/lakewright:cluster"
        values   = [var.name]
      }
    }
  }
  dynamic "statement" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      sid       = "KeyOfTheBuckets"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "node" {
  name               = local.node_role
  assume_role_policy = data.aws_iam_policy_document.node_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "node" {
  name   = "lakewright"
  role   = aws_iam_role.node.name
  policy = data.aws_iam_policy_document.node.json
}

resource "aws_iam_instance_profile" "node" {
  name = local.node_role
  role = aws_iam_role.node.name
  tags = local.tags
}

data "aws_iam_policy_document" "service_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["elasticmapreduce.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "service" {
  statement {
    sid = "CreateInTheSubnet"
    actions = [
      "ec2:CreateNetworkInterface", "ec2:RunInstances", "ec2:CreateFleet",
      "ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion",
    ]
    resources = ["arn:${local.partition}:ec2:${local.region}:${local.account}:subnet/${var.subnet_id}"]
  }
  statement {
    sid       = "CreateEmrsOwnSecurityGroups"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["arn:${local.partition}:ec2:${local.region}:${local.account}:vpc/${data.aws_subnet.this.vpc_id}"]
  }
  statement {
    sid       = "GiveNodesTheirRole"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.node.arn]
    condition {
      test     = "StringLike"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com*"]
    }
  }
}

resource "aws_iam_role" "service" {
  name               = local.service_role
  assume_role_policy = data.aws_iam_policy_document.service_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "service" {
  name   = "lakewright"
  role   = aws_iam_role.service.name
  policy = data.aws_iam_policy_document.service.json
}

resource "aws_iam_role_policy_attachment" "service" {
  role       = aws_iam_role.service.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
}

# Network

resource "aws_security_group" "fleet" {
  name        = "lakewright-${var.name}-fleet"
  description = "Lakewright cluster ${var.name}"
  vpc_id      = data.aws_subnet.this.vpc_id
  tags        = local.tags
  ingress {
    description = "the fleet among itself"
    protocol    = "tcp"
    from_port   = 50050
    to_port     = 50053
    self        = true
  }
}

resource "aws_security_group" "clients" {
  name        = "lakewright-${var.name}-clients"
  description = "Lakewright cluster ${var.name}"
  vpc_id      = data.aws_subnet.this.vpc_id
  tags        = local.tags
  dynamic "ingress" {
    for_each = length(var.allowed_cidrs) == 0 ? [] : [var.allowed_cidrs]
    content {
      description = "clients of the scheduler"
      protocol    = "tcp"
      from_port   = 50040
      to_port     = 50040
      cidr_blocks = ingress.value
    }
  }
}

# What nodes are made of

resource "aws_s3_object" "bootstrap" {
  bucket      = local.folder.bucket
  key         = "${local.node_prefix}/bootstrap.sh"
  source      = "${local.source_folder}/bootstrap.sh"
  source_hash = filesha256("${local.source_folder}/bootstrap.sh")
}

resource "aws_s3_object" "node" {
  for_each    = local.files
  bucket      = local.folder.bucket
  key         = "${local.node_prefix}/${each.key}"
  source      = each.value
  source_hash = filesha256(each.value)
}

resource "aws_s3_object" "settings" {
  bucket  = local.folder.bucket
  key     = "${local.node_prefix}/lakewright.conf"
  content = local.settings_file
}

resource "aws_s3_object" "sums" {
  bucket     = local.folder.bucket
  key        = "${local.node_prefix}/SHA256SUMS"
  content    = local.sums_file
  depends_on = [aws_s3_object.node, aws_s3_object.settings, aws_s3_object.bootstrap]
}

# The cluster

resource "aws_emr_security_configuration" "this" {
  name = local.cluster
  configuration = jsonencode({
    InstanceMetadataServiceConfiguration = {
      MinimumInstanceMetadataServiceVersion = 2
      HttpPutResponseHopLimit               = 1
    }
  })
}

resource "aws_emr_cluster" "this" {
  name                              = local.cluster
  release_label                     = var.release
  applications                      = ["Hadoop"]
  log_uri                           = "s3://${local.folder.bucket}/${local.folder.prefix}/logs/"
  service_role                      = aws_iam_role.service.name
  security_configuration            = aws_emr_security_configuration.this.name
  keep_job_flow_alive_when_no_steps = true
  termination_protection            = var.termination_protection
  step_concurrency_level            = 10
  tags                              = local.tags

  ec2_attributes {
    subnet_id                         = var.subnet_id
    key_name                          = var.key_pair
    instance_profile                  = aws_iam_instance_profile.node.name
    additional_master_security_groups = "${aws_security_group.fleet.id},${aws_security_group.clients.id}"
    additional_slave_security_groups  = aws_security_group.fleet.id
  }

  master_instance_group {
    name          = "primary"
    instance_type = var.primary_type
  }

  core_instance_group {
    name           = "core"
    instance_type  = var.core.type
    instance_count = var.core.count
  }

  bootstrap_action {
    name = "lakewright"
    path = "s3://${aws_s3_object.bootstrap.bucket}/${aws_s3_object.bootstrap.key}"
    args = ["--from", local.node_folder, "--sha256", local.sums_sha256, "--region", local.region]
  }

  configurations_json = jsonencode([{
    Classification = "yarn-site"
    Properties = {
      "yarn.nodemanager.resource.memory-mb"  = "1024"
      "yarn.scheduler.maximum-allocation-mb" = "1024"
    }
  }])

  dynamic "auto_termination_policy" {
    for_each = var.idle_timeout_minutes == 0 ? [] : [var.idle_timeout_minutes]
    content {
      idle_timeout = auto_termination_policy.value * 60
    }
  }

  # `lakewright cluster resize` and EMR itself change it.
  lifecycle {
    ignore_changes = [core_instance_group[0].instance_count]
  }

  depends_on = [
    aws_iam_role_policy.node, aws_iam_role_policy.service, aws_iam_role_policy_attachment.service, aws_s3_object.sums,
  ]
}

resource "aws_emr_instance_group" "task" {
  count         = var.task == null ? 0 : 1
  cluster_id    = aws_emr_cluster.this.id
  name          = "task"
  instance_type = var.task.type
  # A group that is scaled begins with one at least: the scheduler only changes what is there.
  instance_count = local.scaled ? max(var.task.count, 1) : var.task.count
  bid_price      = var.task.bid_price

  lifecycle {
    ignore_changes = [instance_count]
  }
}
