# The keys of cluster.toml, with the same meaning: see deploy/emr/README.md.

variable "name" {
  description = "What everything that is made is named after: lowercase letters, digits and hyphens."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.name)) && !endswith(var.name, "-")
    error_message = "Up to 32 lowercase letters, digits and hyphens, beginning with a letter."
  }
}

variable "release" {
  description = "EMR 7 or newer: its nodes are Amazon Linux 2023."
  type        = string
  default     = "emr-7.13.0"
  validation {
    condition     = can(regex("^emr-([7-9]|[1-9][0-9]+)\\.", var.release))
    error_message = "Releases before emr-7 are Amazon Linux 2, whose C library is too old."
  }
}

variable "subnet_id" {
  description = "The subnet of all nodes."
  type        = string
}

variable "allowed_cidrs" {
  description = "IPv4 networks that may reach the scheduler's port 50040. Empty: nobody."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for cidr in var.allowed_cidrs : can(cidrhost(cidr, 0)) && tonumber(split("/", cidr)[1]) >= 8])
    error_message = "A network that is open to everybody, or nearly so; EMR's Block Public Access would refuse the cluster too."
  }
}

variable "key_pair" {
  description = "An EC2 key pair, to log in with SSH."
  type        = string
  default     = null
}

variable "binary" {
  description = "The program for the nodes, as deploy/build makes it."
  type        = string
}

variable "tokens_file" {
  description = "The file of the hashes of the tokens that the scheduler is to let in, as `lakewright token create` makes it."
  type        = string
  default     = null
}

variable "idle_timeout_minutes" {
  description = "Minutes without work after which EMR ends the cluster; 0 is never."
  type        = number
  default     = 60
}

variable "termination_protection" {
  description = "Whether EMR refuses to end the cluster. Set it to false and apply before you destroy."
  type        = bool
  default     = true
}

variable "lake" {
  description = "Where the tables and the run state are: bucket and prefix."
  type        = object({ bucket = string, prefix = string })
}

variable "raw" {
  description = "Where the raw JSON is, only read. The first is the scheduler's `raw`."
  type        = list(object({ bucket = string, prefix = string }))
  validation {
    condition     = length(var.raw) > 0
    error_message = "Name where the raw JSON is."
  }
}

variable "artifacts" {
  description = "Below it, in a folder of the cluster's name: the program, logs, the authority of the scheduler's certificate."
  type        = object({ bucket = string, prefix = string })
}

variable "jobs" {
  description = "Job folders that steps may read."
  type        = list(object({ bucket = string, prefix = string }))
  default     = []
}

variable "kms_key" {
  description = "ARN of the key of buckets that are encrypted with SSE-KMS."
  type        = string
  default     = null
}

variable "primary_type" {
  description = "Instance type of the scheduler."
  type        = string
  default     = "m6i.xlarge"
}

variable "core" {
  description = "Executors that stay."
  type        = object({ type = string, count = number })
  default     = { type = "r6id.xlarge", count = 2 }
}

variable "task" {
  description = "Executors that come and go; none if null. With a bid, the most dollars an hour of a node, they are spot. With count_max the scheduler asks for up to so many while tasks wait, and gives them back, down to count."
  type        = object({ type = string, count = number, count_max = optional(number), bid_price = optional(string) })
  default     = null
  validation {
    condition     = try(var.task.count_max, null) == null || try(var.task.count_max >= max(var.task.count, 1), false)
    error_message = "count_max is at least count, and 1."
  }
}

variable "settings" {
  description = "Settings of the nodes, by key of lakewright.toml."
  type        = map(string)
  default     = { log = "info" }
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
